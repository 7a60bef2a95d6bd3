import { readFile } from 'node:fs/promises'
import t from 'tap'
import { eventMessages } from '../../../libvirt/event-messages.js'
import { programs } from '../../../libvirt/packet.js'
import { procedures } from '../../../libvirt/procedures.js'

// Package golang-github-digitalocean-go-libvirt-dev: tables of libvirt 7.1, made from its own files.
const root = '/usr/share/gocode/src/github.com/digitalocean/go-libvirt'
const read = (path: string) => readFile(`${root}/${path}`, 'utf8')
const sources = { remote: await read('remote_protocol.gen.go'), qemu: await read('qemu_protocol.gen.go') }
const all = Object.values(sources).join('\n') + (await read('const.gen.go'))

// Procedures newer than that table.
const newer = [
  'networkDefineXmlFlags',
  'domainSaveParams',
  'domainRestoreParams',
  'domainAbortJobFlags',
  'domainStartDirtyRateCalc',
  'nodeDeviceGetAutostart',
  'nodeDeviceIsPersistent',
  'nodeDeviceIsActive'
]
const newerEvents = ['memoryDeviceSizeChange']

/** libvirt's number for each `REMOTE_PROC_…` and `QEMU_PROC_…`. */
const numbers = new Map(
  (await Promise.all(['remote', 'qemu'].map(name => read(`internal/constants/${name}_protocol.gen.go`))))
    .join('\n')
    .split('\n')
    .flatMap((line, index, lines) => {
      const name = /is libvirt's ((?:REMOTE|QEMU)_PROC_\w+)/.exec(line)?.[1]
      const number = /= (\d+)/.exec(lines[index + 1] ?? '')?.[1]
      return name !== undefined && number !== undefined ? [[name, Number(number)] as const] : []
    })
)

/** The types of the fields of each struct, by libvirt's name for it and by Go's. */
const structs = new Map<string, string[]>()
for (const [, theirs, go, body] of all.matchAll(/is libvirt's (\w+)\ntype (\w+) struct \{\n([^}]*)\}/g)) {
  const types = (body ?? '').split('\n').flatMap(line => line.trim().split(/\s+/)[1] ?? [])
  structs.set(theirs ?? '', types)
  structs.set(go ?? '', types)
}
const aliases = new Map([...all.matchAll(/^type (\w+) (\S+)$/gm)].map(([, name, type]) => [name, type]))

const plain: Record<string, string> = {
  string: 's',
  OptString: 's?',
  UUID: 'uuid',
  int32: 'i',
  uint32: 'i',
  int64: 'I',
  uint64: 'U',
  float64: 'd',
  int8: 'i8',
  uint8: 'u8',
  uint16: 'u16',
  '[]byte': 'b',
  TypedParamValue: 'tpv'
}

/** Their type in our notation. Signs of 32-bit numbers are left out: theirs were signed before 9.0, same bytes. */
function layoutOf(type: string): string {
  const simple = plain[type]
  if (simple !== undefined) return simple
  const fixed = /^\[(\d+)\](\w+)$/.exec(type)
  if (fixed) return `${layoutOf(fixed[2] ?? '')}×${fixed[1]}`
  if (type.startsWith('Opt')) return `${layoutOf(type.slice(3))}?`
  if (type.startsWith('[]')) return `${layoutOf(type.slice(2))}[]`
  const fields = structs.get(type)
  if (fields) return `{${fields.map(layoutOf).join(' ')}}`
  const alias = aliases.get(type)
  if (alias !== undefined) return layoutOf(alias)
  throw new Error(`unknown type ${type}`)
}

const unsigned = (layout: string) => layout.replaceAll(/(?<![a-z0-9])u(?![a-z0-9])/g, 'i')
const structLayout = (name: string) => `{${(structs.get(name) ?? []).map(layoutOf).join(' ')}}`
// Their event messages hold a struct in which ours holds its fields: the bytes are the same.
const flat = (layout: string) => layout.replaceAll(/[{}]/g, '')

t.test('every procedure has the number and the layout of the go-libvirt tables', async t => {
  let compared = 0
  const byNumber = new Map([...numbers].map(([name, number]) => [`${name.split('_')[0]}${number}`, name]))
  for (const [name, { program, number, args, result }] of Object.entries(procedures)) {
    const [prefix, wire] = program === programs.QEMU ? ['QEMU', 'qemu'] : ['REMOTE', 'remote']
    const theirs = byNumber.get(`${prefix}${number}`)
    if (newer.includes(name)) {
      t.equal(theirs, undefined, `${name} is newer`)
      continue
    }
    const plainName = (theirs ?? '').replace(/^(REMOTE|QEMU)_PROC_/, '').toLowerCase()
    t.equal(plainName.replaceAll('_', ''), name.toLowerCase(), `${name} is number ${number}`)
    t.equal(unsigned(args.layout), structLayout(`${wire}_${plainName}_args`), `${name} arguments`)
    t.equal(unsigned(result.layout), structLayout(`${wire}_${plainName}_ret`), `${name} result`)
    compared++
  }
  t.ok(compared >= 150, `${compared} procedures`)
})

t.test('every event message has the number and the layout of the go-libvirt tables', async t => {
  const byNumber = new Map([...numbers].map(([name, number]) => [`${name.split('_')[0]}${number}`, name]))
  for (const [name, { program, number, codec }] of Object.entries(eventMessages)) {
    if (newerEvents.includes(name)) continue
    const [prefix, wire] = program === programs.QEMU ? ['QEMU', 'qemu'] : ['REMOTE', 'remote']
    const theirs = (byNumber.get(`${prefix}${number}`) ?? '')
      .replace(/^(REMOTE|QEMU)_PROC_/, '')
      .toLowerCase()
    t.match(
      theirs.replaceAll('_', ''),
      name.replace('monitorEvent', 'domainMonitorEvent').toLowerCase(),
      name
    )
    t.equal(flat(unsigned(codec.layout)), flat(structLayout(`${wire}_${theirs}_msg`)), name)
  }
})
