import { jobs, long, steering } from '../procedure.js'
import { domain, typedParam } from '../structs.js'
import { array, bytes, i32, optional, str, u32, u64 } from '../xdr.js'

/** Domains: jobs, migration, save, dump. Names, numbers and field order are libvirt's. */
export const domainJobsProcedures = {
  domainGetJobInfo: steering(
    163,
    { dom: domain },
    {
      type: i32,
      timeElapsed: u64,
      timeRemaining: u64,
      dataTotal: u64,
      dataProcessed: u64,
      dataRemaining: u64,
      memTotal: u64,
      memProcessed: u64,
      memRemaining: u64,
      fileTotal: u64,
      fileProcessed: u64,
      fileRemaining: u64
    }
  ),
  domainAbortJob: steering(164, { dom: domain }, {}),
  domainMigrateSetMaxDowntime: steering(166, { dom: domain, downtime: u64, flags: u32 }, {}),
  domainManagedSave: long(182, { dom: domain, flags: u32 }, {}),
  domainHasManagedSaveImage: jobs(183, { dom: domain, flags: u32 }, { result: i32 }),
  domainManagedSaveRemove: jobs(184, { dom: domain, flags: u32 }, {}),
  domainMigrateSetMaxSpeed: steering(207, { dom: domain, bandwidth: u64, flags: u32 }, {}),
  domainSaveFlags: long(232, { dom: domain, to: str, dxml: optional(str), flags: u32 }, {}),
  domainRestoreFlags: long(233, { from: str, dxml: optional(str), flags: u32 }, {}),
  domainSaveImageGetXmlDesc: jobs(235, { file: str, flags: u32 }, { xml: str }),
  domainMigrateGetMaxSpeed: steering(242, { dom: domain, flags: u32 }, { bandwidth: u64 }),
  domainGetJobStats: steering(298, { dom: domain, flags: u32 }, { type: i32, params: array(typedParam, 64) }),
  domainMigratePerform3Params: long(
    305,
    { dom: domain, dconnUri: optional(str), params: array(typedParam, 64), cookieIn: bytes(), flags: u32 },
    { cookieOut: bytes() }
  ),
  domainCoreDumpWithFormat: long(334, { dom: domain, to: str, dumpFormat: u32, flags: u32 }, {}),
  domainMigrateStartPostCopy: steering(364, { dom: domain, flags: u32 }, {}),
  domainMigrateGetMaxDowntime: steering(387, { dom: domain, flags: u32 }, { downtime: u64 }),
  domainSaveParams: long(440, { dom: domain, params: array(typedParam, 64), flags: u32 }, {}),
  domainRestoreParams: long(441, { params: array(typedParam, 64), flags: u32 }, {}),
  domainAbortJobFlags: steering(442, { dom: domain, flags: u32 }, {})
}
