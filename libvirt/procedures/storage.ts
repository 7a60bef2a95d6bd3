import { jobs, stream } from '../procedure.js'
import { storagePool, storageVol } from '../structs.js'
import { array, i32, i8, optional, str, u32, u64, u8 } from '../xdr.js'

/** libvirt's storage pools and volumes. Drover does not keep disks there; a volume is a handy end of a stream. */
export const storageProcedures = {
  connectFindStoragePoolSources: jobs(75, { type: str, srcSpec: optional(str), flags: u32 }, { xml: str }),
  storagePoolDefineXml: jobs(77, { xml: str, flags: u32 }, { pool: storagePool }),
  storagePoolCreate: jobs(78, { pool: storagePool, flags: u32 }, {}),
  storagePoolBuild: jobs(79, { pool: storagePool, flags: u32 }, {}),
  storagePoolDestroy: jobs(80, { pool: storagePool }, {}),
  storagePoolDelete: jobs(81, { pool: storagePool, flags: u32 }, {}),
  storagePoolUndefine: jobs(82, { pool: storagePool }, {}),
  storagePoolRefresh: jobs(83, { pool: storagePool, flags: u32 }, {}),
  storagePoolLookupByName: jobs(84, { name: str }, { pool: storagePool }),
  storagePoolLookupByVolume: jobs(86, { vol: storageVol }, { pool: storagePool }),
  storagePoolGetInfo: jobs(
    87,
    { pool: storagePool },
    { state: u8, capacity: u64, allocation: u64, available: u64 }
  ),
  storagePoolGetXmlDesc: jobs(88, { pool: storagePool, flags: u32 }, { xml: str }),
  storagePoolGetAutostart: jobs(89, { pool: storagePool }, { autostart: i32 }),
  storagePoolSetAutostart: jobs(90, { pool: storagePool, autostart: i32 }, {}),
  storageVolCreateXml: jobs(93, { pool: storagePool, xml: str, flags: u32 }, { vol: storageVol }),
  storageVolDelete: jobs(94, { vol: storageVol, flags: u32 }, {}),
  storageVolLookupByName: jobs(95, { pool: storagePool, name: str }, { vol: storageVol }),
  storageVolLookupByKey: jobs(96, { key: str }, { vol: storageVol }),
  storageVolGetInfo: jobs(98, { vol: storageVol }, { type: i8, capacity: u64, allocation: u64 }),
  storageVolGetXmlDesc: jobs(99, { vol: storageVol, flags: u32 }, { xml: str }),
  storageVolGetPath: jobs(100, { vol: storageVol }, { name: str }),
  storageVolCreateXmlFrom: jobs(
    125,
    { pool: storagePool, xml: str, clonevol: storageVol, flags: u32 },
    { vol: storageVol }
  ),
  storagePoolIsActive: jobs(154, { pool: storagePool }, { active: i32 }),
  storagePoolIsPersistent: jobs(155, { pool: storagePool }, { persistent: i32 }),
  storageVolUpload: stream(208, { vol: storageVol, offset: u64, length: u64, flags: u32 }, {}),
  storageVolDownload: stream(209, { vol: storageVol, offset: u64, length: u64, flags: u32 }, {}),
  storageVolWipePattern: jobs(259, { vol: storageVol, algorithm: u32, flags: u32 }, {}),
  storageVolResize: jobs(260, { vol: storageVol, capacity: u64, flags: u32 }, {}),
  connectListAllStoragePools: jobs(
    281,
    { needResults: i32, flags: u32 },
    { pools: array(storagePool, 16384), ret: u32 }
  ),
  storagePoolListAllVolumes: jobs(
    282,
    { pool: storagePool, needResults: i32, flags: u32 },
    { vols: array(storageVol, 16384), ret: u32 }
  ),
  connectGetStoragePoolCapabilities: jobs(403, { flags: u32 }, { capabilities: str })
}
