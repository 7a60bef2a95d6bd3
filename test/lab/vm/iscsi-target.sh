# Fed to the storage VM's shell: LIO by configfs, without its slow front end. Two LUNs on files in memory behind two
# portals of one target; a second target asks for CHAP both ways. The VM's address is $address.
timeout 60 modprobe -a target_core_mod target_core_file iscsi_target_mod
mountpoint -q /sys/kernel/config || mount -t configfs config /sys/kernel/config
target=/sys/kernel/config/target
mkdir -p $target/iscsi /run/luns /var/target/pr
lun() { # NAME MIB SERIAL
  truncate -s "$2M" "/run/luns/$1"
  mkdir -p "$target/core/fileio_0/$1"
  echo "fd_dev_name=/run/luns/$1,fd_dev_size=$(($2 * 1048576))" >"$target/core/fileio_0/$1/control"
  echo "$3" >"$target/core/fileio_0/$1/wwn/vpd_unit_serial"
  echo 1 >"$target/core/fileio_0/$1/enable"
}
portal_group() { # IQN PORTAL...
  group=$target/iscsi/$1/tpgt_1
  mkdir -p "$group"
  for portal in "${@:2}"; do mkdir "$group/np/$portal"; done
  echo 1 >"$group/attrib/generate_node_acls"
  echo 1 >"$group/attrib/cache_dynamic_acls"
  echo 0 >"$group/attrib/demo_mode_write_protect"
}
offer() { # IQN NUMBER NAME
  mkdir "$target/iscsi/$1/tpgt_1/lun/lun_$2"
  ln -s "$target/core/fileio_0/$3" "$target/iscsi/$1/tpgt_1/lun/lun_$2/data"
}
lun one 256 aa01
lun two 128 bb02
lun secret 64 cc03
portal_group iqn.2026-01.org.drover:open "$address:3260" "$address:3261"
echo 0 >$target/iscsi/iqn.2026-01.org.drover:open/tpgt_1/attrib/authentication
offer iqn.2026-01.org.drover:open 0 one
offer iqn.2026-01.org.drover:open 1 two
echo 1 >$target/iscsi/iqn.2026-01.org.drover:open/tpgt_1/enable
portal_group iqn.2026-01.org.drover:chap "$address:3262"
group=$target/iscsi/iqn.2026-01.org.drover:chap/tpgt_1
echo 1 >"$group/attrib/authentication"
printf host-user >"$group/auth/userid"
printf host-secret-1 >"$group/auth/password"
printf array-user >"$group/auth/userid_mutual"
printf array-secret-2 >"$group/auth/password_mutual"
offer iqn.2026-01.org.drover:chap 0 secret
echo 1 >"$group/enable"
