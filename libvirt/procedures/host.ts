import { control, jobs, stats } from '../procedure.js'
import { domain, network, nodeDevice, nodeStat, nwfilter, secret, statsRecord } from '../structs.js'
import { array, chars, i32, optional, str, u32, u64 } from '../xdr.js'

/** Session, host, lists. Names, numbers and field order are libvirt's. */
export const hostProcedures = {
  connectOpen: control(1, { name: optional(str), flags: u32 }, {}),
  connectClose: control(2, {}, {}),
  connectGetVersion: control(4, {}, { hvVer: u64 }),
  connectGetMaxVcpus: control(5, { type: optional(str) }, { maxVcpus: i32 }),
  nodeGetInfo: control(
    6,
    {},
    { model: chars(32), memory: u64, cpus: i32, mhz: i32, nodes: i32, sockets: i32, cores: i32, threads: i32 }
  ),
  connectGetCapabilities: jobs(7, {}, { capabilities: str }),
  connectGetHostname: control(59, {}, { hostname: str }),
  connectSupportsFeature: control(60, { feature: i32 }, { supported: i32 }),
  authList: control(66, {}, { types: array(i32, 20) }),
  authPolkit: control(70, {}, { complete: i32 }),
  connectGetUri: control(110, {}, { uri: str }),
  connectGetLibVersion: control(157, {}, { libVer: u64 }),
  connectGetSysinfo: control(203, { flags: u32 }, { sysinfo: str }),
  nodeGetCpuStats: control(
    227,
    { cpuNum: i32, nparams: i32, flags: u32 },
    { params: array(nodeStat, 16), nparams: i32 }
  ),
  nodeGetMemoryStats: control(
    228,
    { nparams: i32, cellNum: i32, flags: u32 },
    { params: array(nodeStat, 16), nparams: i32 }
  ),
  connectListAllDomains: control(
    273,
    { needResults: i32, flags: u32 },
    { domains: array(domain, 16384), ret: u32 }
  ),
  connectListAllNetworks: control(
    283,
    { needResults: i32, flags: u32 },
    { nets: array(network, 16384), ret: u32 }
  ),
  connectListAllNodeDevices: control(
    285,
    { needResults: i32, flags: u32 },
    { devices: array(nodeDevice, 65536), ret: u32 }
  ),
  connectListAllNwfilters: control(
    286,
    { needResults: i32, flags: u32 },
    { filters: array(nwfilter, 16384), ret: u32 }
  ),
  connectListAllSecrets: control(
    287,
    { needResults: i32, flags: u32 },
    { secrets: array(secret, 16384), ret: u32 }
  ),
  connectGetCpuModelNames: jobs(
    312,
    { arch: str, needResults: i32, flags: u32 },
    { models: array(str, 8192), ret: i32 }
  ),
  connectDomainEventCallbackRegisterAny: control(
    316,
    { eventId: i32, dom: optional(domain) },
    { callbackId: i32 }
  ),
  connectDomainEventCallbackDeregisterAny: control(317, { callbackId: i32 }, {}),
  connectGetDomainCapabilities: jobs(
    342,
    {
      emulatorBin: optional(str),
      arch: optional(str),
      machine: optional(str),
      virtType: optional(str),
      flags: u32
    },
    { capabilities: str }
  ),
  connectGetAllDomainStats: stats(
    344,
    { doms: array(domain, 16384), stats: u32, flags: u32 },
    { retStats: array(statsRecord, 16384) }
  ),
  connectRegisterCloseCallback: control(360, {}, {}),
  connectCompareHypervisorCpu: jobs(
    393,
    {
      emulator: optional(str),
      arch: optional(str),
      machine: optional(str),
      virtType: optional(str),
      xmlCpu: str,
      flags: u32
    },
    { result: i32 }
  ),
  connectBaselineHypervisorCpu: jobs(
    394,
    {
      emulator: optional(str),
      arch: optional(str),
      machine: optional(str),
      virtType: optional(str),
      xmlCpus: array(str, 256),
      flags: u32
    },
    { cpu: str }
  )
}
