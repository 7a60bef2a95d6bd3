import type { Lab } from '../lab/lab.js'

// A host of the lab without Drover, for virsh to migrate guests between.

/** virsh needs a way from one libvirtd to the other. */
export async function reachableByTcp(lab: Lab, host: string): Promise<void> {
  await lab.shell(
    host,
    `echo 'auth_tcp = "none"' >>/etc/libvirt/libvirtd.conf
    systemctl stop libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket
    systemctl start libvirtd-tcp.socket libvirtd.socket libvirtd.service`
  )
}

/** Where `virsh migrate` sends a guest: the connection, and the way for its memory. */
export async function uriOf(lab: Lab, host: string): Promise<string> {
  const address = await lab.address(host)
  return `qemu+tcp://${address}/system tcp://${address}`
}
