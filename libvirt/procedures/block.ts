import { control, jobs, long, steering } from '../procedure.js'
import { checkpoint, diskError, domain, snapshot, typedParam } from '../structs.js'
import { array, i32, optional, str, u32, u64 } from '../xdr.js'

/** Domains: block layer, snapshots, checkpoints, backup. Names, numbers and field order are libvirt's. */
export const blockProcedures = {
  domainSnapshotCreateXml: jobs(185, { dom: domain, xmlDesc: str, flags: u32 }, { snap: snapshot }),
  domainSnapshotGetXmlDesc: control(186, { snap: snapshot, flags: u32 }, { xml: str }),
  domainSnapshotLookupByName: control(189, { dom: domain, name: str, flags: u32 }, { snap: snapshot }),
  domainRevertToSnapshot: long(192, { snap: snapshot, flags: u32 }, {}),
  domainSnapshotDelete: jobs(193, { snap: snapshot, flags: u32 }, {}),
  domainGetBlockInfo: jobs(
    194,
    { dom: domain, path: str, flags: u32 },
    { allocation: u64, capacity: u64, physical: u64 }
  ),
  domainBlockJobAbort: steering(237, { dom: domain, path: str, flags: u32 }, {}),
  domainGetBlockJobInfo: steering(
    238,
    { dom: domain, path: str, flags: u32 },
    { found: i32, type: i32, bandwidth: u64, cur: u64, end: u64 }
  ),
  domainBlockJobSetSpeed: steering(239, { dom: domain, path: str, bandwidth: u64, flags: u32 }, {}),
  domainBlockPull: jobs(240, { dom: domain, path: str, bandwidth: u64, flags: u32 }, {}),
  domainBlockStatsFlags: jobs(
    243,
    { dom: domain, path: str, nparams: i32, flags: u32 },
    { params: array(typedParam, 16), nparams: i32 }
  ),
  domainBlockResize: jobs(251, { dom: domain, disk: str, size: u64, flags: u32 }, {}),
  domainGetDiskErrors: jobs(
    263,
    { dom: domain, maxerrors: u32, flags: u32 },
    { errors: array(diskError, 256), nerrors: i32 }
  ),
  domainBlockRebase: jobs(
    266,
    { dom: domain, path: str, base: optional(str), bandwidth: u64, flags: u32 },
    {}
  ),
  domainListAllSnapshots: control(
    274,
    { dom: domain, needResults: i32, flags: u32 },
    { snapshots: array(snapshot, 16384), ret: i32 }
  ),
  domainBlockCommit: jobs(
    290,
    { dom: domain, disk: str, base: optional(str), top: optional(str), bandwidth: u64, flags: u32 },
    {}
  ),
  domainBlockCopy: jobs(
    345,
    { dom: domain, path: str, destXml: str, params: array(typedParam, 16), flags: u32 },
    {}
  ),
  domainSetBlockThreshold: jobs(386, { dom: domain, dev: str, threshold: u64, flags: u32 }, {}),
  domainCheckpointCreateXml: jobs(411, { dom: domain, xmlDesc: str, flags: u32 }, { checkpoint }),
  domainCheckpointGetXmlDesc: jobs(412, { checkpoint, flags: u32 }, { xml: str }),
  domainListAllCheckpoints: control(
    413,
    { dom: domain, needResults: i32, flags: u32 },
    { checkpoints: array(checkpoint, 16384), ret: i32 }
  ),
  domainCheckpointLookupByName: control(415, { dom: domain, name: str, flags: u32 }, { checkpoint }),
  domainCheckpointDelete: jobs(417, { checkpoint, flags: u32 }, {}),
  domainBackupBegin: jobs(421, { dom: domain, backupXml: str, checkpointXml: optional(str), flags: u32 }, {}),
  domainBackupGetXmlDesc: control(422, { dom: domain, flags: u32 }, { xml: str })
}
