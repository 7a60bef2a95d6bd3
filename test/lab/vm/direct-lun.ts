import { pino } from 'pino'
import { lunSpec } from '../../../agent/luns.js'
import { systemClock } from '../../../common/clock.js'
import { asFault } from '../../../storage/faults.js'
import { commandRunner } from '../../../common/run.js'
import { domainXml } from '../../../libvirt/domain-xml.js'
import { BlockStorage } from '../../../storage/connections/block-storage.js'

// Runs in a VM: `node direct-lun.js WWID passthrough|plain` prints the definition of a VM with a LUN of this host, as an
// agent would make it, or why the VM does not get it.

const [wwid = '', how = ''] = process.argv.slice(2)
const log = pino({ level: 'silent' })
const storage = new BlockStorage({ run: commandRunner(log), clock: systemClock, log })
const isPassthrough = how === 'passthrough'
const lun = {
  ...{ diskId: '0f1e2d3c-4b5a-4697-8877-665544332211', wwid, bus: 'scsi' as const, slot: 1, readOnly: false },
  ...{ shareable: isPassthrough, passthrough: isPassthrough, reservations: isPassthrough }
}
const uuid = '6e2d3c1a-0b7f-4c55-9a53-1f2e3d4c5b6a'
try {
  const device = await storage.forVm(lun, AbortSignal.timeout(120_000))
  const xml = domainXml({
    ...{ uuid, name: `drover-${uuid}`, title: 'lun', accelerator: 'tcg', machineType: 'q35', vcpus: 1 },
    ...{ memoryBytes: 2 ** 26, cpuModel: 'qemu64', firmware: { kind: 'bios' }, nics: [], lease: null },
    metadata: { prefix: 'x', uri: 'urn:x', attributes: {}, text: '' },
    graphics: null,
    disks: [lunSpec(lun, device, 1)]
  })
  process.stdout.write(xml)
} catch (error) {
  const fault = asFault(error)
  process.stdout.write(`refused: ${fault instanceof Error ? fault.message : String(fault)}`)
}
process.exit(0)
