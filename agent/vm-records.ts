import { element, writeXml } from '../libvirt/xml.js'
import { isVirError } from '../libvirt/errors.js'
import { encodeRecord, metadataPrefix, metadataUri, type VmRecord } from './vm-metadata.js'
import type { Vm } from './vm.js'
import { isRunning } from './vm-status.js'

/** Changes what is written about a VM, in its libvirt domain first and then here. */
export async function writeRecord(vm: Vm, change: Partial<VmRecord>, signal: AbortSignal): Promise<void> {
  const record = { ...vm.own(), ...change }
  const { attributes, text } = encodeRecord(record)
  const xml = writeXml({ ...element('vm', attributes), text })
  const metadata = { uri: metadataUri, prefix: metadataPrefix, xml }
  const live = isRunning(vm.state)
  try {
    await vm.libvirtDomain.setMetadata(metadata, { live, config: vm.isDefined || !live }, signal)
  } catch (error) {
    // It stopped, or began, in this moment: the definition is what stays.
    if (!isVirError(error, 'OPERATION_INVALID') || !live) throw error
    await vm.libvirtDomain.setMetadata(metadata, { config: true }, signal)
  }
  vm.record = record
  vm.changed()
}

/** The same where it does not matter if the domain is gone. */
export async function writeRecordIfThere(
  vm: Vm,
  change: Partial<VmRecord>,
  signal: AbortSignal
): Promise<void> {
  try {
    await writeRecord(vm, change, signal)
  } catch (error) {
    if (!isVirError(error, 'NO_DOMAIN', 'OPERATION_INVALID')) throw error
    vm.record = { ...vm.own(), ...change }
    vm.changed()
  }
}
