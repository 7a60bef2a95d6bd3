import type { Secret } from '../common/secret.js'
import type { Libvirt } from './connections.js'
import * as c from './constants.js'
import { nameOf, type NameIn } from './constants.js'
import { absent } from './domain.js'
import { procedures as p } from './procedures.js'

export type SecretEntry = { uuid: string; usage: NameIn<typeof c.secretUsageType>; usageId: string }

/** Defines a secret, or replaces its definition; the XML says what it is for. */
export async function defineSecret(libvirt: Libvirt, xml: string, signal: AbortSignal): Promise<SecretEntry> {
  return entry((await libvirt.call(p.secretDefineXml, { xml, flags: 0 }, signal)).secret)
}

export async function setSecretValue(
  libvirt: Libvirt,
  uuid: string,
  value: Secret | Buffer,
  signal: AbortSignal
): Promise<void> {
  const raw = Buffer.isBuffer(value) ? value : Buffer.from(value.reveal())
  await libvirt.call(p.secretSetValue, { secret: ref(uuid), value: raw, flags: 0 }, signal)
}

export async function listSecrets(libvirt: Libvirt, signal: AbortSignal): Promise<SecretEntry[]> {
  const { secrets } = await libvirt.call(p.connectListAllSecrets, { needResults: 1, flags: 0 }, signal)
  return secrets.map(entry)
}

export async function findSecret(
  libvirt: Libvirt,
  uuid: string,
  signal: AbortSignal
): Promise<SecretEntry | null> {
  const found = libvirt.call(p.secretLookupByUuid, { uuid }, signal)
  return found.then(({ secret }) => entry(secret)).catch(absent('NO_SECRET'))
}

/** One that is not there is as good as removed. */
export async function removeSecret(libvirt: Libvirt, uuid: string, signal: AbortSignal): Promise<void> {
  await libvirt.call(p.secretUndefine, { secret: ref(uuid) }, signal).catch(absent('NO_SECRET'))
}

const ref = (uuid: string) => ({ uuid, usageType: 0, usageId: '' })
const entry = (secret: { uuid: string; usageType: number; usageId: string }): SecretEntry => ({
  uuid: secret.uuid,
  usage: nameOf(c.secretUsageType, secret.usageType),
  usageId: secret.usageId
})
