import { qemuControl, qemuGuest, qemuJobs } from '../procedure.js'
import { domain } from '../structs.js'
import { i32, optional, str, u32 } from '../xdr.js'

/** Program QEMU. Names, numbers and field order are libvirt's. */
export const qemuProcedures = {
  domainMonitorCommand: qemuJobs(1, { dom: domain, cmd: str, flags: u32 }, { result: str }),
  domainAgentCommand: qemuGuest(
    3,
    { dom: domain, cmd: str, timeout: i32, flags: u32 },
    { result: optional(str) }
  ),
  connectDomainMonitorEventRegister: qemuControl(
    4,
    { dom: optional(domain), event: optional(str), flags: u32 },
    { callbackId: i32 }
  ),
  connectDomainMonitorEventDeregister: qemuControl(5, { callbackId: i32 }, {})
}
