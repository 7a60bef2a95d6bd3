// Every detector looks, whatever the others found: a file that is two formats at once is an attack.

/** What may be imported. `raw` is the absence of every signature. */
export type ImageFormat = 'raw' | 'qcow2' | 'vmdk' | 'vpc' | 'vhdx' | 'vdi' | 'iso'

export type Signature =
  | 'qcow2'
  | 'vmdk'
  | 'vmdkDescriptor'
  | 'vmdk3'
  | 'vpcFixed'
  | 'vpcDynamic'
  | 'vhdx'
  | 'vdi'
  | 'iso'
  | 'qed'
  | 'luks'
  | 'parallels'
  | 'bochs'
  | 'cloop'
  | 'dmg'
  | 'partitionTable'

export const headLength = 65_536
export const tailLength = 1536

/** The first 64 KiB and the last 1.5 KiB of a file (less if it is shorter). */
export type Ends = { head: Buffer; tail: Buffer }

export function signatures(ends: Ends): Signature[] {
  return detectors.filter(([, finds]) => finds(ends)).map(([signature]) => signature)
}

const at = (bytes: Buffer, offset: number, text: string): boolean =>
  bytes.length >= offset + text.length &&
  bytes.subarray(offset, offset + text.length).equals(Buffer.from(text, 'latin1'))

const atEnd = ({ tail }: Ends, text: string): boolean =>
  tail.length >= 512 && at(tail, tail.length - 512, text)

const detectors: Array<[Signature, (ends: Ends) => boolean]> = [
  ['qcow2', ({ head }) => at(head, 0, 'QFI\xfb')],
  ['vmdk', ({ head }) => at(head, 0, 'KDMV')],
  ['vmdk3', ({ head }) => at(head, 0, 'COWD')],
  ['vmdkDescriptor', ({ head }) => isVmdkDescriptor(head)],
  ['vpcDynamic', ({ head }) => at(head, 0, 'conectix')],
  ['vpcFixed', ends => atEnd(ends, 'conectix') && !at(ends.head, 0, 'conectix')],
  ['vhdx', ({ head }) => at(head, 0, 'vhdxfile')],
  ['vdi', ({ head }) => at(head, 64, '\x7f\x10\xda\xbe')],
  ['qed', ({ head }) => at(head, 0, 'QED\0')],
  ['luks', ({ head }) => at(head, 0, 'LUKS\xba\xbe')],
  ['parallels', ({ head }) => at(head, 0, 'WithoutFreeSpace') || at(head, 0, 'WithouFreSpacExt')],
  ['bochs', ({ head }) => at(head, 0, 'Bochs Virtual HD Image')],
  ['cloop', ({ head }) => at(head, 0, '#!/bin/sh\n#V2.0 Format')],
  ['dmg', ends => atEnd(ends, 'koly')],
  ['iso', ({ head }) => at(head, 32_769, 'CD001')],
  ['partitionTable', ({ head }) => at(head, 510, '\x55\xaa') || at(head, 512, 'EFI PART')]
]

/** QEMU also takes a file for a descriptor that has only comments and blank lines before its version. */
function isVmdkDescriptor(head: Buffer): boolean {
  const text = head.toString('latin1', 0, 8192)
  return /^\s*#\s*disk\s*descriptorfile/i.test(text) || /^(?:[ \t\r]*(?:#[^\n]*)?\n)*version=\d/i.test(text)
}
