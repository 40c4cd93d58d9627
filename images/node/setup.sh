#!/bin/sh
# Runs once while the node image is built, without network: what kind's own Dockerfile does after installing its packages.
set -eu
version=$1

chmod 755 /kind /kind/bin /kind/bin/* /usr/local/bin/*
find /lib/systemd/system/sysinit.target.wants/ -name systemd-tmpfiles-setup.service -delete
rm -f /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* /lib/systemd/system/local-fs.target.wants/* \
  /lib/systemd/system/sockets.target.wants/*udev* /lib/systemd/system/sockets.target.wants/*initctl* /lib/systemd/system/basic.target.wants/*
echo ReadKMsg=no >> /etc/systemd/journald.conf
[ -e /sbin/init ] || ln -s /usr/lib/systemd/systemd /sbin/init
rm -f /etc/systemd/system/containerd-fuse-overlayfs.service
systemctl enable kubelet.service containerd.service undo-mount-hacks.service
systemctl mask systemd-binfmt.service
mkdir -p /etc/kubernetes/manifests /kind/manifests
printf '%s' "$version" > /kind/version

# The sandbox image is ours. No OOM score below containerd's own: a host without CAP_SYS_RESOURCE refuses it, elsewhere containerd's is the lowest.
sed -i -e 's#sandbox_image = .*#sandbox_image = "registry.k8s.io/pause:3.10.2"#' \
  -e 's#restrict_oom_score_adj = .*#restrict_oom_score_adj = true#' /etc/containerd/config.toml
ctr oci spec \
  | jq '.hooks.createContainer[.hooks.createContainer | length] |= . + {"path": "/kind/bin/mount-product-files.sh"} | del(.process.rlimits)' \
  > /etc/containerd/cri-base.json
runc --version
containerd --version
kubeadm version -o short
