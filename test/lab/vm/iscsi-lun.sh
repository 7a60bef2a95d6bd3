# Fed to the storage VM's shell: LIO by configfs, without its slow front end. One LUN of the disk "lun", behind one
# portal at $address, for everybody who asks.
timeout 60 modprobe -a target_core_mod target_core_iblock iscsi_target_mod
mountpoint -q /sys/kernel/config || mount -t configfs config /sys/kernel/config
target=/sys/kernel/config/target
mkdir -p $target/iscsi /var/target/pr
lun=$target/core/iblock_0/lun
mkdir -p $lun
echo "udev_path=/dev/disk/by-id/virtio-lun,readonly=0" >$lun/control
echo d10ce5 >$lun/wwn/vpd_unit_serial
echo 1 >$lun/enable
group=$target/iscsi/iqn.2026-01.org.drover:block/tpgt_1
mkdir -p $group/np/$address:3260
echo 1 >$group/attrib/generate_node_acls
echo 1 >$group/attrib/cache_dynamic_acls
echo 0 >$group/attrib/demo_mode_write_protect
echo 0 >$group/attrib/authentication
mkdir $group/lun/lun_0
ln -s $lun $group/lun/lun_0/data
echo 1 >$group/enable
