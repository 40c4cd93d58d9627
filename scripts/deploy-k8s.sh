#!/usr/bin/env bash
# The interface of the migration document over the playbooks: deploy-k8s.sh [-Action NAME] [-Component TIER] ... (--help tells the rest).
# It translates words and starts ansible-playbook; the exit code is that of the playbook.
set -euo pipefail

# With CDPATH a `cd` may go elsewhere, and writes where it went.
unset CDPATH
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)

usage() {
    cat <<'TEXT'
Usage: deploy-k8s.sh [-Action NAME] [options] [-- options of ansible-playbook]

Without an argument it deploys. Each action is a playbook of the same name (docs/operations.md):
TEXT
    printf '  %s\n' "$(actions)"
    cat <<'TEXT'

Options; -Name VALUE, --name VALUE and --name=VALUE are the same:
  -Action NAME         what to do; default deploy
  -Component TIER      deploy, render: that tier alone; logs, port-forward, update, rollback: the tier it is about
  -Image REFERENCE     update: the new image
  -Lines N             logs: lines of each container
  -Since TIME          logs: how far back, for example 15m
  -Follow              logs: go on until Ctrl-C
  -Seconds N           port-forward: hold the ports open so long
  -Format screen|json  status, history
  -Fail                status: exit code 2 when the stack is not healthy
  -Purge NAMESPACE     destroy: volumes, secrets and that namespace too
  -Check               change nothing, show what would change (--check --diff)
  -Namespace NAME      twisterlab_namespace
  -Kubeconfig FILE     twisterlab_kubeconfig
  -Context NAME        twisterlab_context
  -Inventory PATH      inventory of ansible-playbook; default inventories/local
  -Help                this text
TEXT
}

actions() {
    local path name
    for path in "$root"/playbooks/*.yml; do
        name=$(basename "$path" .yml)
        [ "$name" = inventory ] || printf '%s ' "${name//_/-}"
    done
}

refuse() {
    echo "deploy-k8s.sh: $1" >&2
    exit 2
}

variables="" # members of one JSON object: a value is never split, and quotes in it stay what they are
set_variable() { # NAME VALUE
    local text=$2
    case $text in *'{{'* | *'{%'*) refuse "the value $text of $1 would be evaluated as a template; write it into the inventory." ;; esac
    case $text in *[[:cntrl:]]*) refuse "a value of $1 holds a control character." ;; esac
    text=${text//\\/\\\\}
    variables+="${variables:+, }\"$1\": \"${text//\"/\\\"}\""
}

only() { # OPTION ACTION...: the option means something for these actions alone
    local option=$1 known
    shift
    for known in "$@"; do [ "$known" != "$action" ] || return 0; done
    refuse "$option means nothing for $action; it is for $*."
}

action=deploy
# What is given is applied when the action is known, wherever that stands.
given=() arguments=() plain=()
while [ $# -gt 0 ]; do
    word=$1 value="" glued=""
    shift
    if [ "$word" = -- ]; then
        plain=("$@")
        break
    fi
    case $word in --*=*) value=${word#*=} glued=yes word=${word%%=*} ;; esac
    option=$(printf '%s' "$word" | tr '[:upper:]' '[:lower:]')
    case $option in --[a-z]*) option=${option#-} ;; esac
    case $option in
        -help | -h | '-?')
            usage
            exit 0
            ;;
        -follow | -fail | -check)
            [ -z "$glued" ] || refuse "$word takes no value."
            ;;
        -action | -component | -image | -lines | -since | -seconds | -format | -purge | -namespace | -kubeconfig | -context | -inventory)
            if [ -z "$glued" ] && [ $# -gt 0 ]; then
                value=$1
                shift
            fi
            [ -n "$value" ] || refuse "$word needs a value; --help lists the options."
            ;;
        *) refuse "$word is no option; --help lists them. What ansible-playbook itself takes stands behind --." ;;
    esac
    if [ "$option" = -action ]; then
        action=$(printf '%s' "$value" | tr '[:upper:]_' '[:lower:]-')
    else
        given+=("$option" "$value")
    fi
done

playbook=$root/playbooks/${action//-/_}.yml
case " $(actions)" in
    *" $action "*) ;;
    *) refuse "there is no action $action; the actions are $(actions | sed 's/ $//; s/ /, /g')." ;;
esac

set -- ${given[@]+"${given[@]}"}
while [ $# -gt 0 ]; do
    option=$1 value=$2
    shift 2
    case $option in
        -component)
            only -Component deploy render logs port-forward update rollback
            case $action in
                deploy | render) arguments+=(--tags "$value") ;;
                *) set_variable twisterlab_component "$value" ;;
            esac
            ;;
        -image) only -Image update && set_variable twisterlab_image "$value" ;;
        -lines) only -Lines logs && set_variable twisterlab_logs_lines "$value" ;;
        -since) only -Since logs && set_variable twisterlab_logs_since "$value" ;;
        -follow) only -Follow logs && set_variable twisterlab_logs_follow true ;;
        -seconds) only -Seconds port-forward && set_variable twisterlab_forward_seconds "$value" ;;
        -format) only -Format status history && set_variable "twisterlab_${action}_format" "$value" ;;
        -fail) only -Fail status && set_variable twisterlab_status_fail true ;;
        -purge)
            only -Purge destroy
            set_variable twisterlab_purge true
            set_variable twisterlab_destroy_confirm "$value"
            ;;
        -check) arguments+=(--check --diff) ;;
        -namespace) set_variable twisterlab_namespace "$value" ;;
        -kubeconfig) set_variable twisterlab_kubeconfig "$value" ;;
        -context) set_variable twisterlab_context "$value" ;;
        -inventory) arguments+=(--inventory "$value") ;;
    esac
done
[ -z "$variables" ] || arguments+=(--extra-vars "{$variables}")

# A service has no HOME.
export HOME=${HOME:-~}
cache=${TWISTERLAB_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/twisterlab}
# One that is there is used; otherwise the project's own is made, as by `make deploy`.
if ! command -v ansible-playbook >/dev/null; then
    venv=$("$root/scripts/venv.sh" "$root/requirements.txt" 12)
    PATH=$venv/bin:$PATH
fi
export PATH=$PATH:$cache/bin ANSIBLE_CONFIG=${ANSIBLE_CONFIG:-$root/ansible.cfg}
exec ansible-playbook "$playbook" ${arguments[@]+"${arguments[@]}"} ${plain[@]+"${plain[@]}"}
