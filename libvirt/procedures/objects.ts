import { control, jobs } from '../procedure.js'
import { network, nodeDevice, nwfilter, secret } from '../structs.js'
import { bytes, i32, optional, str, u32, uuid } from '../xdr.js'

/** Secrets, networks, node devices, network filters. Names, numbers and field order are libvirt's. */
export const objectsProcedures = {
  networkCreate: jobs(39, { net: network }, {}),
  networkDefineXml: jobs(41, { xml: str }, { net: network }),
  networkDestroy: jobs(42, { net: network }, {}),
  networkGetXmlDesc: control(43, { net: network, flags: u32 }, { xml: str }),
  networkLookupByName: control(46, { name: str }, { net: network }),
  networkSetAutostart: jobs(48, { net: network, autostart: i32 }, {}),
  networkUndefine: jobs(49, { net: network }, {}),
  nodeDeviceLookupByName: control(113, { name: str }, { dev: nodeDevice }),
  nodeDeviceGetXmlDesc: jobs(114, { name: str, flags: u32 }, { xml: str }),
  nodeDeviceReAttach: jobs(119, { name: str }, {}),
  nodeDeviceReset: jobs(120, { name: str }, {}),
  nodeDeviceCreateXml: jobs(123, { xmlDesc: str, flags: u32 }, { dev: nodeDevice }),
  nodeDeviceDestroy: control(124, { name: str }, {}),
  secretLookupByUuid: control(141, { uuid }, { secret }),
  secretDefineXml: control(142, { xml: str, flags: u32 }, { secret }),
  secretSetValue: control(144, { secret, value: bytes(65536), flags: u32 }, {}),
  secretGetValue: control(145, { secret, flags: u32 }, { value: bytes(65536) }),
  secretUndefine: control(146, { secret }, {}),
  networkIsActive: control(152, { net: network }, { active: i32 }),
  nwfilterLookupByName: control(175, { name: str }, { nwfilter }),
  nwfilterGetXmlDesc: control(177, { nwfilter, flags: u32 }, { xml: str }),
  nwfilterDefineXml: control(180, { xml: str }, { nwfilter }),
  nwfilterUndefine: control(181, { nwfilter }, {}),
  nodeDeviceDetachFlags: jobs(301, { name: str, driver: optional(str), flags: u32 }, {}),
  networkDefineXmlFlags: jobs(432, { xml: str, flags: u32 }, { net: network })
}
