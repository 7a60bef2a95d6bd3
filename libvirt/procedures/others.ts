import { jobs } from '../procedure.js'
import {
  checkpoint,
  domain,
  ioThreadInfo,
  netInterface,
  network,
  networkDhcpLease,
  networkPort,
  nwfilterBinding,
  secret,
  snapshot,
  typedParam
} from '../structs.js'
import { array, bytes, i32, i64, i8, optional, str, u32, u64 } from '../xdr.js'

/** What other clients say (virsh, virt-manager): getters, and earlier forms of what stands in the other files. Known so that
 * their talk with libvirtd can be read. */
export const otherProcedures = {
  connectGetType: jobs(3, {}, { type: str }),
  domainAttachDevice: jobs(8, { dom: domain, xml: str }, {}),
  domainCreate: jobs(9, { dom: domain }, {}),
  domainDefineXml: jobs(11, { xml: str }, { dom: domain }),
  domainDestroy: jobs(12, { dom: domain }, {}),
  domainDetachDevice: jobs(13, { dom: domain, xml: str }, {}),
  domainGetAutostart: jobs(15, { dom: domain }, { autostart: i32 }),
  domainGetOsType: jobs(19, { dom: domain }, { type: str }),
  domainPinVcpu: jobs(26, { dom: domain, vcpu: u32, cpuMap: bytes(8 * 2 ** 20) }, {}),
  domainSetVcpus: jobs(32, { dom: domain, nvcpus: u32 }, {}),
  domainShutdown: jobs(33, { dom: domain }, {}),
  networkGetAutostart: jobs(44, { net: network }, { autostart: i32 }),
  networkGetBridgeName: jobs(45, { net: network }, { name: str }),
  domainCoreDump: jobs(53, { dom: domain, to: str, flags: u32 }, {}),
  domainRestore: jobs(54, { from: str }, {}),
  domainSave: jobs(55, { dom: domain, to: str }, {}),
  domainGetSchedulerType: jobs(56, { dom: domain }, { type: str, nparams: i32 }),
  domainGetSchedulerParameters: jobs(57, { dom: domain, nparams: i32 }, { params: array(typedParam, 2048) }),
  domainBlockStats: jobs(
    64,
    { dom: domain, path: str },
    { rdReq: i64, rdBytes: i64, wrReq: i64, wrBytes: i64, errs: i64 }
  ),
  nodeGetCellsFreeMemory: jobs(101, { startCell: i32, maxcells: i32 }, { cells: array(u64, 16384) }),
  nodeGetFreeMemory: jobs(102, {}, { freeMem: u64 }),
  nodeDeviceGetParent: jobs(115, { name: str }, { parentName: optional(str) }),
  nodeDeviceDettach: jobs(118, { name: str }, {}),
  domainGetSecurityLabel: jobs(121, { dom: domain }, { label: array(i8, 16384), enforcing: i32 }),
  nodeGetSecurityModel: jobs(122, {}, { model: array(i8, 16384), doi: array(i8, 16384) }),
  interfaceLookupByName: jobs(128, { name: str }, { iface: netInterface }),
  interfaceGetXmlDesc: jobs(130, { iface: netInterface, flags: u32 }, { xml: str }),
  secretGetXmlDesc: jobs(143, { secret, flags: u32 }, { xml: str }),
  domainIsActive: jobs(150, { dom: domain }, { active: i32 }),
  networkIsPersistent: jobs(153, { net: network }, { persistent: i32 }),
  interfaceIsActive: jobs(156, { iface: netInterface }, { active: i32 }),
  connectCompareCpu: jobs(158, { xml: str, flags: u32 }, { result: i32 }),
  connectBaselineCpu: jobs(162, { xmlCpus: array(str, 16384), flags: u32 }, { cpu: str }),
  domainSnapshotNum: jobs(187, { dom: domain, flags: u32 }, { num: i32 }),
  domainHasCurrentSnapshot: jobs(190, { dom: domain, flags: u32 }, { result: i32 }),
  domainSnapshotCurrent: jobs(191, { dom: domain, flags: u32 }, { snap: snapshot }),
  domainGetMemoryParameters: jobs(
    198,
    { dom: domain, nparams: i32, flags: u32 },
    { params: array(typedParam, 2048), nparams: i32 }
  ),
  domainSetBlkioParameters: jobs(205, { dom: domain, params: array(typedParam, 2048), flags: u32 }, {}),
  domainGetBlkioParameters: jobs(
    206,
    { dom: domain, nparams: i32, flags: u32 },
    { params: array(typedParam, 2048), nparams: i32 }
  ),
  domainGetVcpuPinInfo: jobs(
    230,
    { dom: domain, ncpuMaps: i32, maplen: i32, flags: u32 },
    { cpuMaps: bytes(8 * 2 ** 20), num: i32 }
  ),
  domainSaveImageDefineXml: jobs(236, { file: str, dxml: str, flags: u32 }, {}),
  domainSnapshotGetParent: jobs(244, { snap: snapshot, flags: u32 }, { snap: snapshot }),
  domainSnapshotNumChildren: jobs(246, { snap: snapshot, flags: u32 }, { num: i32 }),
  domainGetBlockIoTune: jobs(
    253,
    { dom: domain, disk: optional(str), nparams: i32, flags: u32 },
    { params: array(typedParam, 2048), nparams: i32 }
  ),
  domainGetNumaParameters: jobs(
    255,
    { dom: domain, nparams: i32, flags: u32 },
    { params: array(typedParam, 2048), nparams: i32 }
  ),
  domainGetInterfaceParameters: jobs(
    257,
    { dom: domain, device: str, nparams: i32, flags: u32 },
    { params: array(typedParam, 2048), nparams: i32 }
  ),
  domainGetCpuStats: jobs(
    262,
    { dom: domain, nparams: u32, startCpu: i32, ncpus: u32, flags: u32 },
    { params: array(typedParam, 2048), nparams: i32 }
  ),
  domainPmWakeup: jobs(267, { dom: domain, flags: u32 }, {}),
  domainSnapshotIsCurrent: jobs(271, { snap: snapshot, flags: u32 }, { current: i32 }),
  domainSnapshotHasMetadata: jobs(272, { snap: snapshot, flags: u32 }, { metadata: i32 }),
  domainGetHostname: jobs(277, { dom: domain, flags: u32 }, { hostname: str }),
  domainGetEmulatorPinInfo: jobs(
    280,
    { dom: domain, maplen: i32, flags: u32 },
    { cpuMaps: bytes(8 * 2 ** 20), ret: i32 }
  ),
  connectListAllInterfaces: jobs(
    284,
    { needResults: i32, flags: u32 },
    { ifaces: array(netInterface, 16384), ret: u32 }
  ),
  nodeGetMemoryParameters: jobs(
    289,
    { nparams: i32, flags: u32 },
    { params: array(typedParam, 2048), nparams: i32 }
  ),
  networkUpdate: jobs(
    291,
    { net: network, command: u32, section: u32, parentIndex: i32, xml: str, flags: u32 },
    {}
  ),
  nodeGetCpuMap: jobs(
    293,
    { needMap: i32, needOnline: i32, flags: u32 },
    { cpuMap: bytes(8 * 2 ** 20), online: u32, ret: i32 }
  ),
  domainMigrateGetCompressionCache: jobs(299, { dom: domain, flags: u32 }, { cacheSize: u64 }),
  nodeGetFreePages: jobs(
    340,
    { pages: array(u32, 16384), startCell: i32, cellCount: u32, flags: u32 },
    { counts: array(u64, 16384) }
  ),
  networkGetDhcpLeases: jobs(
    341,
    { net: network, mac: optional(str), needResults: i32, flags: u32 },
    { leases: array(networkDhcpLease, 16384), ret: u32 }
  ),
  domainGetIothreadInfo: jobs(
    351,
    { dom: domain, flags: u32 },
    { info: array(ioThreadInfo, 16384), ret: u32 }
  ),
  domainAddIothread: jobs(355, { dom: domain, iothreadId: u32, flags: u32 }, {}),
  domainDelIothread: jobs(356, { dom: domain, iothreadId: u32, flags: u32 }, {}),
  domainRename: jobs(358, { dom: domain, newName: optional(str), flags: u32 }, { retcode: i32 }),
  connectUnregisterCloseCallback: jobs(361, {}, {}),
  domainGetPerfEvents: jobs(365, { dom: domain, flags: u32 }, { params: array(typedParam, 2048) }),
  domainGetGuestVcpus: jobs(371, { dom: domain, flags: u32 }, { params: array(typedParam, 2048) }),
  domainManagedSaveGetXmlDesc: jobs(388, { dom: domain, flags: u32 }, { xml: str }),
  connectListAllNwfilterBindings: jobs(
    401,
    { needResults: i32, flags: u32 },
    { bindings: array(nwfilterBinding, 16384), ret: u32 }
  ),
  domainSetIothreadParams: jobs(
    402,
    { dom: domain, iothreadId: u32, params: array(typedParam, 2048), flags: u32 },
    {}
  ),
  networkListAllPorts: jobs(
    404,
    { net: network, needResults: i32, flags: u32 },
    { ports: array(networkPort, 16384), ret: u32 }
  ),
  domainCheckpointListAllChildren: jobs(
    414,
    { checkpoint, needResults: i32, flags: u32 },
    { checkpoints: array(checkpoint, 16384), ret: i32 }
  ),
  domainCheckpointGetParent: jobs(416, { checkpoint, flags: u32 }, { parent: checkpoint }),
  domainAuthorizedSshKeysGet: jobs(424, { dom: domain, user: str, flags: u32 }, { keys: array(str, 16384) }),
  domainStartDirtyRateCalc: jobs(427, { dom: domain, seconds: i32, flags: u32 }, {}),
  nodeDeviceGetAutostart: jobs(433, { name: str }, { autostart: i32 }),
  nodeDeviceIsPersistent: jobs(435, { name: str }, { persistent: i32 }),
  nodeDeviceIsActive: jobs(436, { name: str }, { active: i32 })
}
