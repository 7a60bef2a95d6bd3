import t from 'tap'
import { contractHash, lacksOf, unheard } from '../../common/contract.js'
import { readRegistry } from '../../common/policy.js'
import { descriptorSet } from '../../proto/load.js'
import { olderApi } from '../fakes/older-agent.js'

const ours = readRegistry(descriptorSet)
const older = readRegistry(olderApi().descriptorSet)
const name = 'drover.agent.v1'
const lacks = lacksOf(older, ours, name)
const requestOf = (service: string, method: string) => {
  const found = ours.getService(`${name}.${service}`)?.methods.find(each => each.name === method)
  if (!found) throw new Error(`no method ${method}`)
  return found.input
}
const startVm = (request: object) => unheard(request, requestOf('VmService', 'StartVm'), lacks!)

t.test('two descriptions of one version have one hash and lack nothing', async t => {
  t.equal(contractHash(ours, name), contractHash(readRegistry(descriptorSet), name))
  t.equal(lacksOf(ours, ours, name), null)
})

t.test('an older version has another hash, and its missing methods and fields are found', async t => {
  t.not(contractHash(older, name), contractHash(ours, name))
  t.ok(lacks?.methods.has(`/${name}.VmService/SetVmLimits`))
  t.ok(lacks?.methods.has(`/${name}.ThinService/GetThinDisk`), 'also those of a service that is missing')
  t.notOk(lacks?.methods.has(`/${name}.VmService/StartVm`))
  t.ok(lacks?.fields.has(`${name}.VmSpec`))
})

t.test('a newer version lacks nothing of what an older one says', async t => {
  t.equal(lacksOf(ours, older, name), null)
})

const spec = { vmId: 'v', name: 'web', vcpus: 1, memoryBytes: '1', disks: [{ diskId: 'd' }] }
const limits = { totalBytesSec: '0', totalIopsSec: 0 }
const said: Array<[why: string, request: object, unknown: string[]]> = [
  ['nothing new', { spec }, []],
  ['a new field', { spec: { ...spec, cpuLimits: { percent: 50 } } }, ['spec.cpu_limits']],
  ['a new field without a word in it', { spec: { ...spec, cpuLimits: { percent: 0, shares: 0 } } }, []],
  ['a new field that is absent', { spec: { ...spec, cpuLimits: null } }, []],
  [
    'a new field in a list, twice',
    {
      spec: {
        ...spec,
        disks: [
          { diskId: 'd', limits: { ...limits, totalIopsSec: 9 } },
          { diskId: 'e', limits: { ...limits, totalBytesSec: '9' } }
        ]
      }
    },
    ['spec.disks.limits']
  ],
  ['a new field in a list, silent', { spec: { ...spec, disks: [{ diskId: 'd', limits }] } }, []]
]
for (const [why, request, unknown] of said) {
  t.test(`of a request with ${why}, an older agent would ignore: ${unknown.join() || 'nothing'}`, async t => {
    t.strictSame(startVm(request), unknown)
  })
}

t.test('a new value of an enum that is known is unheard as well', async t => {
  const lacksValue = {
    methods: new Set<string>(),
    fields: new Map(),
    values: new Map([['drover.common.v1.Firmware', new Set([2])]])
  }
  const type = requestOf('VmService', 'StartVm')
  const values = ours.getEnum('drover.common.v1.Firmware')?.values ?? []
  const [, one, two] = values.map(({ name }) => name)
  t.strictSame(unheard({ spec: { ...spec, firmware: one } }, type, lacksValue), [])
  t.strictSame(unheard({ spec: { ...spec, firmware: two } }, type, lacksValue), [`spec.firmware = ${two}`])
})
