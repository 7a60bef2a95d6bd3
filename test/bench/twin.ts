import { randomUUID } from 'node:crypto'

export type Twin = { uuid: string; name: string; xml: string }

/**
 * The same guest for the reference: libvirt's definition of one of ours, under another name, without what only
 * Drover puts into it, on another disk.
 */
export function twinOf(xml: string, name: string, disk: string | null): Twin {
  const uuid = randomUUID()
  const twin = xml
    .replace(/<metadata>[\s\S]*?<\/metadata>/, '')
    .replace(/<lease>[\s\S]*?<\/lease>/g, '')
    .replace(/<title>[\s\S]*?<\/title>/, '')
    .replace(/<name>[\s\S]*?<\/name>/, `<name>${name}</name>`)
    .replace(/<uuid>[\s\S]*?<\/uuid>/, `<uuid>${uuid}</uuid>`)
    .replace(/<mac address='[^']*'\/>/g, () => `<mac address='${randomMac()}'/>`)
    .replace(/<backingStore[\s\S]*?<\/backingStore>/g, '')
  return {
    uuid,
    name,
    xml: disk === null ? twin : twin.replace(/<source file='[^']*'/, `<source file='${disk}'`)
  }
}

function randomMac(): string {
  const [a = 0, b = 0, c = 0] = Buffer.from(randomUUID().slice(0, 6), 'hex')
  return ['52', '54', '00', ...[a, b, c].map(byte => byte.toString(16).padStart(2, '0'))].join(':')
}
