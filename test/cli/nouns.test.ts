import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Fault } from '../../common/fault.js'
import { fakeCoordinator } from '../fakes/fake-coordinator.js'
import { drover, droverProcess } from './drover.js'

t.test('lists are tables with names instead of ids, and JSON on request', async t => {
  const { socket, world } = await fakeCoordinator(t)
  const vmId = world.addVm('web', { hostId: world.host.id, status: 'VM_STATUS_UP' })
  world.addVm('db')
  const { out, code } = await drover(socket, ['vm', 'list'])
  t.equal(code, 0)
  t.match(out, /^NAME +STATUS +HOST/)
  t.match(out, /^web +up +alpha +1 +1 GiB/m)
  const listed = await drover(socket, ['vm', 'list', '--json'])
  t.match(JSON.parse(listed.out), [{ name: 'web', vmId, status: 'VM_STATUS_UP' }, { name: 'db' }])
})

t.test('a VM is created from a template by names, waited for, and started', async t => {
  const { socket, world } = await fakeCoordinator(t)
  const args = [
    'vm',
    'create',
    'web',
    '--cluster',
    'main',
    '--template',
    'debian-12',
    '--memory',
    '2G',
    '--ha'
  ]
  const { out, err, code } = await drover(socket, [...args, '--start', '--wait'])
  t.equal(code, 0, err)
  t.equal(out, 'created and started VM web\n')
  t.match(err, /vm\.create {2}\[#{12}\.{12}\] {2}50 %/, 'progress is told step by step')
  t.match(
    [...world.vms.values()],
    [{ name: 'web', memoryBytes: '2147483648', ha: { enabled: true }, status: 'VM_STATUS_UP' }]
  )
})

t.test('without --wait the job is named and nothing is waited for', async t => {
  const { socket, world } = await fakeCoordinator(t)
  world.addVm('web')
  const { out, code } = await drover(socket, ['vm', 'start', 'web', '--no-wait'])
  t.equal(code, 0)
  t.match(out, /^job [0-9a-f-]{36} \(vm\.start\) running: follow it with `drover job wait/)
  t.equal([...world.vms.values()][0]?.status, 'VM_STATUS_DOWN')
})

t.test('a job that fails is the failure of the command, with the next step', async t => {
  const { socket, world } = await fakeCoordinator(t)
  world.addVm('web')
  world.failure = new Fault('NO_HOST', 'no host has 2 GiB of free memory')
  const { err, code } = await drover(socket, ['vm', 'start', 'web', '--wait'])
  t.equal(code, 6)
  t.match(
    err,
    /Error: no host has 2 GiB of free memory\n +\[NO_HOST\]\nNext: No host can take the VM; `drover vm why`/
  )
  const asJson = await drover(socket, ['vm', 'start', 'web', '--wait', '--json'])
  t.match(JSON.parse(asJson.err.trim().split('\n').at(-1) ?? ''), {
    error: { reason: 'NO_HOST', status: 'FAILED_PRECONDITION' }
  })
})

const failures: Array<[args: string[], code: number, says: RegExp]> = [
  [['vm', 'show', 'nobody'], 3, /there is no VM nobody/],
  [['vm', 'frobnicate'], 2, /unknown command 'frobnicate'/],
  [['vm', 'create', 'x'], 2, /required option '--cluster/],
  [['vm', 'create', 'x', '--cluster', 'main', '--memory', 'lots'], 2, /Give a size such as/],
  [['vm', 'create', ' x', '--cluster', 'main'], 2, /vm\.name must not begin or end with a space/],
  [['vm', 'update', 'web'], 2, /say what to change/],
  [['host', 'fence', 'alpha', 'sideways'], 2, /off, on or status/],
  [['storage-domain', 'create', 'x'], 2, /exactly one of --local, --posix/],
  [['vm', 'pause', 'web'], 1, /not available in this version/],
  [['--address', 'x', 'vm', 'list'], 2, /address must be HOST:PORT/],
  [['--address', 'x:1', 'vm', 'list'], 2, /ca is needed with an address/],
  [['--socket', '/nonexistent.sock', 'vm', 'list', '--timeout', '1'], 5, /no connection: .*ENOENT/]
]
t.test('each mistake has its exit code and says what is wrong', async t => {
  const { socket, world } = await fakeCoordinator(t)
  world.addVm('web')
  for (const [args, code, says] of failures) {
    const seen = await drover(socket, args)
    t.equal(seen.code, code, `${args.join(' ')}: ${seen.err}`)
    t.match(seen.err, says)
    t.notMatch(seen.err, /\n +at /, 'no stack')
  }
})

t.test('an image is uploaded whole', async t => {
  const { socket } = await fakeCoordinator(t)
  const file = join(t.testdir(), 'disk.qcow2')
  writeFileSync(file, Buffer.alloc(300_000, 7))
  const args = ['image', 'import', file, '--name', 'd', '--storage-domain', 'fast', '--wait']
  const { out, err, code } = await drover(socket, args)
  t.equal(code, 0, err)
  t.match(out, /^imported .*disk\.qcow2 as disk d/)
})

t.test('the serial console joins both ends', async t => {
  const { socket, world } = await fakeCoordinator(t)
  world.addVm('web')
  const { out } = await droverProcess(socket, ['vm', 'console', 'web'], 'root\n')
  t.equal(out, 'login: ROOT\n')
})

t.test('a decision is explained host by host', async t => {
  const { socket, world } = await fakeCoordinator(t)
  world.addVm('web')
  const { out } = await drover(socket, ['vm', 'why', 'web'])
  t.match(out, /start: alpha has the most free memory/)
  t.match(out, /beta +refused \(memory\) +1 GiB is free, 2 GiB are needed/)
})

t.test('what comes from elsewhere cannot drive the terminal', async t => {
  const { socket } = await fakeCoordinator(t)
  const { out } = await drover(socket, ['event', 'list'])
  t.match(out, /warning {2}host\.non_responsive {2}host alpha is silent .\[31mred/)
  t.notMatch(out, /\u001b/)
})

t.test('findings make an audit fail', async t => {
  const { socket, world } = await fakeCoordinator(t)
  t.match(await drover(socket, ['audit']), { code: 0, out: 'no violation found in 1 host\n' })
  world.findings = [{ invariant: 'I1', object: 'vm/web', text: 'runs twice' }]
  t.match(await drover(socket, ['audit']), { code: 1, out: /I1 +vm\/web +runs twice/ })
  const asJson = await drover(socket, ['audit', '--json'])
  t.equal(asJson.code, 1)
  t.match(JSON.parse(asJson.out), { findings: world.findings, scope: '1 host' })
  t.match(await drover(socket, ['audit', 'nowhere']), { code: 3, out: '', err: /nowhere/ })
  t.match(await drover(socket, ['audit', '--help']), { code: 0, out: /without changing\s+anything/ })
})

t.test('a new host is told how to enrol', async t => {
  const { socket } = await fakeCoordinator(t)
  const { out } = await drover(socket, ['host', 'create', 'gamma', '--cluster', 'main'])
  t.match(out, /drover-agent enrol --token-file \/run\/drover-token --coordinator 10\.0\.0\.1:7411/)
})

t.test('completion knows commands, options and names', async t => {
  const { socket, world } = await fakeCoordinator(t)
  world.addVm('web-1')
  world.addVm('db-1')
  const complete = async (...words: string[]) =>
    (await drover(socket, ['__complete', ...words])).out.trim().split('\n')
  t.strictSame(await complete('vm', 'mig'), ['migrate'])
  t.strictSame(await complete('vm', 'start', 'w'), ['web-1'])
  t.strictSame(await complete('vm', 'migrate', 'web-1', '--host', ''), ['alpha'])
  t.strictSame(await complete('vm', 'create', 'x', '--firm'), ['--firmware'])
  t.strictSame(await complete('vm', 'create', 'x', '--firmware', ''), ['bios', 'uefi'])
  t.match((await drover(socket, ['completion', 'bash'])).out, /complete -F _drover drover/)
})
