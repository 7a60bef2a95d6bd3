import { control, jobs, steering } from '../procedure.js'
import { domain } from '../structs.js'
import { array, i32, optional, str, u16, u32, u64, u8, uuid } from '../xdr.js'

/** Domains: find, define, life cycle, description. Names, numbers and field order are libvirt's. */
export const domainProcedures = {
  domainCreateXml: jobs(10, { xmlDesc: str, flags: u32 }, { dom: domain }),
  domainGetXmlDesc: jobs(14, { dom: domain, flags: u32 }, { xml: str }),
  domainGetInfo: jobs(
    16,
    { dom: domain },
    { state: u8, maxMem: u64, memory: u64, nrVirtCpu: u16, cpuTime: u64 }
  ),
  domainLookupById: control(22, { id: i32 }, { dom: domain }),
  domainLookupByName: control(23, { name: str }, { dom: domain }),
  domainLookupByUuid: control(24, { uuid }, { dom: domain }),
  domainReboot: jobs(27, { dom: domain, flags: u32 }, {}),
  domainResume: jobs(28, { dom: domain }, {}),
  domainSetAutostart: jobs(29, { dom: domain, autostart: i32 }, {}),
  domainSuspend: jobs(34, { dom: domain }, {}),
  domainIsPersistent: control(151, { dom: domain }, { persistent: i32 }),
  domainCreateWithFlags: jobs(196, { dom: domain, flags: u32 }, { dom: domain }),
  domainInjectNmi: jobs(210, { dom: domain, flags: u32 }, {}),
  domainGetState: control(212, { dom: domain, flags: u32 }, { state: i32, reason: i32 }),
  domainGetControlInfo: control(
    229,
    { dom: domain, flags: u32 },
    { state: u32, details: u32, stateTime: u64 }
  ),
  domainUndefineFlags: jobs(231, { dom: domain, flags: u32 }, {}),
  domainDestroyFlags: steering(234, { dom: domain, flags: u32 }, {}),
  domainReset: jobs(245, { dom: domain, flags: u32 }, {}),
  domainShutdownFlags: jobs(258, { dom: domain, flags: u32 }, {}),
  domainSetMetadata: jobs(
    264,
    { dom: domain, type: i32, metadata: optional(str), key: optional(str), uri: optional(str), flags: u32 },
    {}
  ),
  domainGetMetadata: control(
    265,
    { dom: domain, type: i32, uri: optional(str), flags: u32 },
    { metadata: str }
  ),
  domainDefineXmlFlags: control(350, { xml: str, flags: u32 }, { dom: domain }),
  domainSetLifecycleAction: jobs(390, { dom: domain, type: u32, action: u32, flags: u32 }, {}),
  domainGetMessages: jobs(426, { dom: domain, flags: u32 }, { msgs: array(str, 2048) })
}
