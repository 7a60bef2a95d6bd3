import { mkdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { systemClock, timestamp } from '../../common/clock.js'
import { writeDurably } from '../../common/durable-file.js'
import { Fault } from '../../common/fault.js'
import { loadConfig } from '../config.js'
import { standardConfig } from '../serve.js'
import { CertificateAuthority } from '../trust/ca.js'
import { leaveNote } from '../trust/notes.js'
import { ownAddresses } from '../trust/own-identity.js'

const options = {
  out: { type: 'string' },
  role: { type: 'string', default: 'admin' },
  days: { type: 'string', default: '30' },
  config: { type: 'string', default: standardConfig }
} as const

/** A certificate with which somebody administers, or reads, from another machine. */
export async function issueAdmin(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true })
  const [name = ''] = positionals
  const role = values.role.toUpperCase()
  const days = Number(values.days)
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) {
    throw new Fault('INVALID_REQUEST', 'NAME must be 1 to 64 letters, digits, ".", "_" or "-"')
  }
  if (values.out === undefined) throw new Fault('INVALID_REQUEST', '--out DIR is needed')
  if (role !== 'ADMIN' && role !== 'VIEWER')
    throw new Fault('INVALID_REQUEST', '--role must be admin or viewer')
  if (!Number.isInteger(days) || days < 1 || days > 365) {
    throw new Fault('INVALID_REQUEST', '--days must be from 1 to 365')
  }
  const config = loadConfig(values.config)
  const ca = await CertificateAuthority.open(`${config.state_directory}/trust`, systemClock)
  const subject = { role, id: name, names: [], usages: ['client'] } as const
  const { certificates, issued } = await ca.issueWithKey(subject, days * 86_400)
  const record = {
    serial: issued.serial,
    role,
    name,
    issued: systemClock.wall(),
    notAfter: issued.notAfter
  } as const
  // Written down before it is handed out.
  await leaveNote(`${config.state_directory}/trust/notes`, { kind: 'issued', ...record }, systemClock)

  const out = resolve(values.out)
  await mkdir(out, { recursive: true, mode: 0o700 })
  await writeDurably(`${out}/ca.pem`, certificates.trust, 0o644)
  await writeDurably(`${out}/cert.pem`, certificates.certificate, 0o644)
  await writeDurably(`${out}/key.pem`, certificates.key)
  const port = config.listen.slice(config.listen.lastIndexOf(':') + 1)
  const address = config.advertise || `${ownAddresses()[0] ?? 'localhost'}:${port}`
  const lines = { address, ca: `${out}/ca.pem`, cert: `${out}/cert.pem`, key: `${out}/key.pem` }
  const toml = Object.entries(lines).map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`)
  await writeDurably(`${out}/config.toml`, toml.join(''), 0o644)
  process.stdout.write(
    `${role.toLowerCase()} ${name}: certificate ${issued.serial}, valid until ${timestamp(issued.notAfter)}\n` +
      `use it: DROVER_CONFIG=${out}/config.toml drover host list\n`
  )
  return 0
}

/** Refuses a certificate everywhere within seconds. */
export async function revoke(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    options: { config: options.config },
    allowPositionals: true
  })
  const serial = (positionals[0] ?? '').toLowerCase()
  if (!/^[0-9a-f]{8,40}$/.test(serial)) throw new Fault('INVALID_REQUEST', 'SERIAL must be hexadecimal')
  const config = loadConfig(values.config)
  await leaveNote(`${config.state_directory}/trust/notes`, { kind: 'revoked', serial }, systemClock)
  process.stdout.write(`certificate ${serial} is refused from now on\n`)
  return 0
}
