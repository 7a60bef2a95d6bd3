import { control, guest, jobs } from '../procedure.js'
import { domain, memoryStat, typedParam, vcpuInfo } from '../structs.js'
import { array, bytes, i32, i64, str, u32, u64 } from '../xdr.js'

/** Domains: devices, CPU, memory, tuning. Names, numbers and field order are libvirt's. */
export const devicesProcedures = {
  domainGetVcpus: control(
    20,
    { dom: domain, maxinfo: i32, maplen: i32 },
    { info: array(vcpuInfo, 16384), cpuMaps: bytes(8 * 2 ** 20) }
  ),
  domainInterfaceStats: control(
    65,
    { dom: domain, device: str },
    {
      rxBytes: i64,
      rxPackets: i64,
      rxErrs: i64,
      rxDrop: i64,
      txBytes: i64,
      txPackets: i64,
      txErrs: i64,
      txDrop: i64
    }
  ),
  domainMemoryStats: jobs(
    159,
    { dom: domain, maxStats: u32, flags: u32 },
    { stats: array(memoryStat, 1024) }
  ),
  domainAttachDeviceFlags: jobs(160, { dom: domain, xml: str, flags: u32 }, {}),
  domainDetachDeviceFlags: jobs(161, { dom: domain, xml: str, flags: u32 }, {}),
  domainUpdateDeviceFlags: jobs(174, { dom: domain, xml: str, flags: u32 }, {}),
  domainSetMemoryParameters: jobs(197, { dom: domain, params: array(typedParam, 16), flags: u32 }, {}),
  domainSetVcpusFlags: jobs(199, { dom: domain, nvcpus: u32, flags: u32 }, {}),
  domainGetVcpusFlags: jobs(200, { dom: domain, flags: u32 }, { num: i32 }),
  domainSetMemoryFlags: jobs(204, { dom: domain, memory: u64, flags: u32 }, {}),
  domainSetSchedulerParametersFlags: jobs(
    219,
    { dom: domain, params: array(typedParam, 16), flags: u32 },
    {}
  ),
  domainPinVcpuFlags: jobs(225, { dom: domain, vcpu: u32, cpuMap: bytes(2048), flags: u32 }, {}),
  domainSetBlockIoTune: jobs(252, { dom: domain, disk: str, params: array(typedParam, 32), flags: u32 }, {}),
  domainSetInterfaceParameters: jobs(
    256,
    { dom: domain, device: str, params: array(typedParam, 16), flags: u32 },
    {}
  ),
  domainPinEmulator: jobs(279, { dom: domain, cpuMap: bytes(2048), flags: u32 }, {}),
  domainSetMemoryStatsPeriod: jobs(308, { dom: domain, period: i32, flags: u32 }, {}),
  domainPinIothread: jobs(352, { dom: domain, iothreadId: u32, cpuMap: bytes(2048), flags: u32 }, {}),
  domainSetGuestVcpus: guest(372, { dom: domain, cpuMap: str, state: i32, flags: u32 }, {}),
  domainSetVcpu: jobs(384, { dom: domain, cpuMap: str, state: i32, flags: u32 }, {}),
  domainDetachDeviceAlias: jobs(392, { dom: domain, alias: str, flags: u32 }, {}),
  domainGetLaunchSecurityInfo: jobs(396, { dom: domain, flags: u32 }, { params: array(typedParam, 64) })
}
