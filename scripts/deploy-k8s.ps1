# The interface of the migration document on Windows: it hands its words to deploy-k8s.sh in WSL or, where there is none, in a container that has
# Ansible ($env:TWISTERLAB_CONTAINER_IMAGE, made by images/execution-environment). The exit code is that of the playbook. `deploy-k8s.ps1 -Help` tells the options.
[CmdletBinding(PositionalBinding = $false)]
param(
    [string]$Action = 'deploy',
    [string]$Component,
    [string]$Image,
    [string]$Lines,
    [string]$Since,
    [switch]$Follow,
    [string]$Seconds,
    [string]$Format,
    [switch]$Fail,
    [string]$Purge,
    [switch]$Check,
    [string]$Namespace,
    [string]$Kubeconfig,
    [string]$Context,
    [string]$Inventory,
    [switch]$Help,
    # What ansible-playbook itself takes.
    [Parameter(ValueFromRemainingArguments = $true)]
    [string[]]$Rest
)

$ErrorActionPreference = 'Stop'
$root = Split-Path -Parent $PSScriptRoot
$script = 'scripts/deploy-k8s.sh'

$wsl = Get-Command 'wsl.exe' -ErrorAction SilentlyContinue
$engine = Get-Command 'docker', 'podman' -ErrorAction SilentlyContinue | Select-Object -First 1
$container = $env:TWISTERLAB_CONTAINER_IMAGE
if (-not $wsl -and -not ($engine -and $container)) {
    Write-Error 'There is neither WSL nor a container: install WSL (wsl --install), or set TWISTERLAB_CONTAINER_IMAGE to an image that has Ansible and start Docker or Podman.' -ErrorAction Continue
    exit 3
}

# The words of deploy-k8s.sh; a path of Windows is told as the other side knows it.
$words = @('-Action', $Action)
$mounts = @()
foreach ($name in 'Component', 'Image', 'Lines', 'Since', 'Seconds', 'Format', 'Purge', 'Namespace', 'Context') {
    if ($PSBoundParameters.ContainsKey($name)) { $words += @("-$name", $PSBoundParameters[$name]) }
}
foreach ($name in 'Kubeconfig', 'Inventory') {
    if (-not $PSBoundParameters.ContainsKey($name)) { continue }
    $path = (Resolve-Path -LiteralPath $PSBoundParameters[$name]).ProviderPath
    if ($wsl) {
        $path = (& $wsl.Source --exec wslpath -a -u $path.Replace('\', '/')).Trim()
    }
    else {
        $mounts += @('--volume', "${path}:/given/$($name.ToLower()):ro")
        $path = "/given/$($name.ToLower())"
    }
    $words += @("-$name", $path)
}
if ($Follow) { $words += '-Follow' }
if ($Fail) { $words += '-Fail' }
if ($Check) { $words += '-Check' }
if ($Help) { $words = @('-Help') }
if ($Rest) { $words += @('--') + $Rest }

# Windows PowerShell does not escape quotes for programs.
foreach ($word in $words) {
    if ($word.Contains('"')) {
        Write-Error "The value $word holds a quotation mark; write it into the inventory." -ErrorAction Continue
        exit 2
    }
}

if ($wsl) {
    & $wsl.Source --cd $root --exec bash $script @words
}
else {
    & $engine.Source run --rm --interactive --network host --volume "${root}:/project" --workdir /project @mounts $container bash $script @words
}
exit $LASTEXITCODE
