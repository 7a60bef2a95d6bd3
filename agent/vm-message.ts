import { Fault } from '../common/fault.js'
import type { GuestReport as WireGuest } from '../proto/generated/types/drover/common/v1/GuestReport.js'
import type { PauseReason as WirePause } from '../proto/generated/types/drover/common/v1/PauseReason.js'
import type { VmStats as WireStats } from '../proto/generated/types/drover/common/v1/VmStats.js'
import type { VmStatus as WireStatus } from '../proto/generated/types/drover/common/v1/VmStatus.js'
import type { Vm as WireVm } from '../proto/generated/types/drover/agent/v1/Vm.js'
import type { GuestReport } from './guest-report.js'
import type { Vm } from './vm.js'
import { vmSpecMessage } from './vm-spec.js'
import type { VmExit } from './vm-metadata.js'
import type { VmStats } from './vm-stats.js'
import { enumName, wireFailure, wireTime, wireTimeOrNull } from './wire.js'

export function vmMessage(vm: Vm): WireVm {
  const { record, state, foreign, exit, guest, stats, migration } = vm
  const status = vm.isUnresponsive && state.status !== 'down' ? 'notResponding' : state.status
  return {
    vmId: vm.id,
    name: vm.name,
    status: enumName('VM_STATUS', status) as WireStatus,
    pauseReason: enumName('PAUSE_REASON', state.pause ?? 'unspecified') as WirePause,
    vmGeneration: String(record?.generation ?? 0),
    spec: record && vmSpecMessage(record.spec),
    started: wireTimeOrNull(record?.startedAt ?? null),
    failure: exit && failureOf(exit),
    exitReason: exit?.reason ?? '',
    guest: guest && guestMessage(guest),
    migration: migration && {
      destinationHostId: migration.destinationHostId,
      progress: {
        percent: migration.percent,
        doneBytes: String(migration.doneBytes),
        totalBytes: String(migration.totalBytes),
        phase: 'migrating'
      },
      iterations: migration.iterations,
      expectedDowntimeMs: String(migration.expectedDowntimeMs),
      speed: String(migration.bytesPerSecond)
    },
    foreign: foreign?.kind ?? '',
    stats: stats && vmStatsMessage(stats),
    vncSocket: vm.vncSocket,
    openTrays: [...vm.openTrays].toSorted()
  }
}

function failureOf({ fault, at }: VmExit) {
  if (fault === null) return null
  const known = Fault.fromJSON(fault)
  return wireFailure(known instanceof Fault ? known : new Fault('INTERRUPTED', known.message), at)
}

function guestMessage({ seen, fileSystems, ...guest }: GuestReport): WireGuest {
  return {
    ...guest,
    seen: wireTimeOrNull(seen),
    fileSystems: fileSystems.map(({ totalBytes, usedBytes, ...rest }) => {
      return { ...rest, totalBytes: String(totalBytes), usedBytes: String(usedBytes) }
    })
  }
}

export function vmStatsMessage(stats: VmStats): WireStats {
  return {
    time: wireTime(stats.at),
    cpuPercent: stats.cpuPercent,
    residentBytes: String(stats.residentBytes),
    guestUsedBytes: String(stats.guestUsedBytes),
    disks: stats.disks.map(disk => ({
      diskId: disk.diskId,
      readBytes: String(disk.readBytes),
      writtenBytes: String(disk.writtenBytes),
      readRequests: String(disk.readRequests),
      writeRequests: String(disk.writeRequests),
      allocationBytes: String(disk.allocationBytes)
    })),
    nics: stats.nics.map(nic => ({
      mac: nic.mac,
      receivedBytes: String(nic.receivedBytes),
      sentBytes: String(nic.sentBytes)
    }))
  }
}
