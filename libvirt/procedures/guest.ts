import { guest, jobs, stream } from '../procedure.js'
import { domain, domainInterface, fsInfo, typedParam } from '../structs.js'
import { array, i32, i64, optional, str, u32, u64 } from '../xdr.js'

/** Guest agent, console, input. Names, numbers and field order are libvirt's. */
export const guestProcedures = {
  domainOpenConsole: stream(201, { dom: domain, devName: optional(str), flags: u32 }, {}),
  domainScreenshot: stream(211, { dom: domain, screen: u32, flags: u32 }, { mime: optional(str) }),
  domainSendKey: jobs(
    226,
    { dom: domain, codeset: u32, holdtime: u32, keycodes: array(u32, 16), flags: u32 },
    {}
  ),
  domainFstrim: guest(294, { dom: domain, mountPoint: optional(str), minimum: u64, flags: u32 }, {}),
  domainOpenChannel: stream(296, { dom: domain, name: optional(str), flags: u32 }, {}),
  domainFsfreeze: guest(335, { dom: domain, mountpoints: array(str, 256), flags: u32 }, { filesystems: i32 }),
  domainFsthaw: guest(336, { dom: domain, mountpoints: array(str, 256), flags: u32 }, { filesystems: i32 }),
  domainGetTime: guest(337, { dom: domain, flags: u32 }, { seconds: i64, nseconds: u32 }),
  domainSetTime: guest(338, { dom: domain, seconds: i64, nseconds: u32, flags: u32 }, {}),
  domainGetFsinfo: guest(349, { dom: domain, flags: u32 }, { info: array(fsInfo, 256), ret: u32 }),
  domainInterfaceAddresses: guest(
    353,
    { dom: domain, source: u32, flags: u32 },
    { ifaces: array(domainInterface, 2048) }
  ),
  domainSetUserPassword: guest(
    357,
    { dom: domain, user: optional(str), password: optional(str), flags: u32 },
    {}
  ),
  domainGetGuestInfo: guest(
    418,
    { dom: domain, types: u32, flags: u32 },
    { params: array(typedParam, 2048) }
  ),
  domainAgentSetResponseTimeout: jobs(420, { dom: domain, timeout: i32, flags: u32 }, { result: i32 })
}
