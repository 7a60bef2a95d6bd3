# Fed to the storage VM's shell: an NFS export /data on the disk "export", served by the kernel.
timeout 60 modprobe nfsd
timeout 60 mkfs.ext4 -q -F /dev/disk/by-id/virtio-export
mkdir -p /export
mount /dev/disk/by-id/virtio-export /export
mkdir -p /export/data
chown 36:36 /export/data
chmod 755 /export/data
# The VM's root is an overlay, which nfsd cannot export: its pseudo-root moves to the ext4 file system.
printf '[exports]\nrootdir=/export\n' >/etc/nfs.conf
# The root of a client is nobody here, as it is by default.
echo '/data *(rw,sync,root_squash,no_subtree_check,fsid=1)' >/etc/exports
mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd
mkdir -p /var/lib/nfs/v4recovery
echo 10 >/proc/fs/nfsd/nfsv4leasetime
echo 10 >/proc/fs/nfsd/nfsv4gracetime
# Version 4 alone: the older ones would wait for a port mapper that is not there.
timeout 60 exportfs -ra
timeout 60 rpc.nfsd --no-nfs-version 3 4
timeout 60 rpc.mountd --no-nfs-version 3
