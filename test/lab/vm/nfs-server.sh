# Fed to the storage VM's shell: an NFS export /data on the disk "export", served by the kernel.
modprobe nfsd
mkfs.ext4 -q -F /dev/disk/by-id/virtio-export
mkdir -p /export
mount /dev/disk/by-id/virtio-export /export
mkdir -p /export/data
chown 36:36 /export/data
# The VM's root is an overlay, which nfsd cannot export: its pseudo-root moves to the ext4 file system.
printf '[exports]\nrootdir=/export\n' >/etc/nfs.conf
echo '/data *(rw,sync,no_root_squash,no_subtree_check,fsid=1)' >/etc/exports
mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd
mkdir -p /var/lib/nfs/v4recovery
systemctl start rpcbind || rpcbind -w
echo 10 >/proc/fs/nfsd/nfsv4leasetime
echo 10 >/proc/fs/nfsd/nfsv4gracetime
exportfs -ra
rpc.nfsd 4
rpc.mountd
