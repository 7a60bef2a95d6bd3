import t from 'tap'
import { jsonValues } from '../../cli/grpc/call.js'
import { fakeCoordinator } from '../fakes/fake-coordinator.js'
import { drover, droverProcess } from './drover.js'

t.test('services and methods are listed by reflection', async t => {
  const { socket } = await fakeCoordinator(t)
  const { out } = await drover(socket, ['grpc', 'list'])
  const names = out.trim().split('\n')
  for (const name of [
    'drover.v1.VmService',
    'grpc.health.v1.Health',
    'grpc.reflection.v1.ServerReflection'
  ]) {
    t.ok(names.includes(name), name)
  }
  t.match(
    (await drover(socket, ['grpc', 'list', 'drover.v1.JobService'])).out,
    /^drover\.v1\.JobService\/WatchJob$/m
  )
})

t.test('a method is described with its messages and their comments', async t => {
  const { socket } = await fakeCoordinator(t)
  const { out } = await drover(socket, ['grpc', 'describe', 'drover.v1.VmService/CreateVm'])
  t.match(out, /rpc CreateVm\(drover\.v1\.CreateVmRequest\) returns \(drover\.v1\.Job\);/)
  t.match(out, /^ {2}\/\/ The template; empty means none\.\n {2}string template_id = 3;$/m)
  const kinds = await drover(socket, [
    'grpc',
    'describe',
    'drover.v1.JobState',
    'drover.v1.ImportDiskRequest'
  ])
  t.match(kinds.out, /JOB_STATE_STUCK = 6;/)
  t.match(kinds.out, /oneof message \{\n[\s\S]*drover\.v1\.ImportDiskOpen open = 1;/)
})

t.test('methods of all shapes are called with JSON', async t => {
  const { socket, world } = await fakeCoordinator(t)
  const vmId = world.addVm('web')
  const call = (...args: string[]) => drover(socket, ['grpc', 'call', ...args])
  const got = await call('drover.v1.VmService/GetVm', '{"vmId": "web"}')
  t.match(JSON.parse(got.out), { vmId, name: 'web', memoryBytes: '1073741824' })
  const requestId = '11111111-1111-4111-8111-111111111111'
  const job = JSON.parse(
    (await call('drover.v1.VmService.StartVm', JSON.stringify({ requestId, vmId }))).out
  ) as { jobId: string }
  const watched = await call('drover.v1.JobService/WatchJob', JSON.stringify({ jobId: job.jobId }))
  const lines = watched.out
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as { state: string })
  t.equal(lines.at(-1)?.state, 'JOB_STATE_SUCCEEDED')
  const chat = await droverProcess(
    socket,
    ['grpc', 'call', 'drover.v1.VmService/OpenConsole', '-'],
    `{"open": {"vmId": "${vmId}"}}\n{"data": "${Buffer.from('hi').toString('base64')}"}\n`
  )
  const data = chat.out
    .trim()
    .split('\n')
    .map(line => (JSON.parse(line) as { data: string }).data)
  t.strictSame(
    data.map(each => Buffer.from(each, 'base64').toString()),
    ['login: ', 'HI']
  )
})

t.test('errors show reason, fields and the next step', async t => {
  const { socket } = await fakeCoordinator(t)
  const bad = await drover(socket, ['grpc', 'call', 'drover.v1.VmService/StartVm', '{}'])
  t.equal(bad.code, 2)
  t.match(bad.err, /request_id: must be a lower-case UUID\n +vm_id: must be/)
  t.match(bad.err, /\[INVALID_REQUEST\]\nNext: Correct the named fields/)
  const wrong = await drover(socket, ['grpc', 'call', 'drover.v1.VmService/GetVm', '{"name": 1}'])
  t.match(wrong, { code: 2, err: /not a drover\.v1\.GetVmRequest/ })
  t.match(await drover(socket, ['grpc', 'call', 'drover.v1.VmService/Nothing']), {
    code: 3,
    err: /no method/
  })
  t.match(await drover(socket, ['grpc', 'describe', 'drover.v1.Nothing']), { code: 3 })
})

t.test('an example request can be printed', async t => {
  const { socket } = await fakeCoordinator(t)
  const { out } = await drover(socket, ['grpc', 'call', 'drover.v1.VmService/CreateVm', '--template'])
  t.match(JSON.parse(out), {
    requestId: '',
    vm: { name: '', vcpus: 0, memoryBytes: '0', disks: [{ diskId: '' }] }
  })
})

t.test('requests are read as one object, an array, or lines', async t => {
  t.strictSame(jsonValues(''), [{}])
  t.strictSame(jsonValues('{"a": 1}'), [{ a: 1 }])
  t.strictSame(jsonValues('[{"a": 1}, {}]'), [{ a: 1 }, {}])
  t.strictSame(jsonValues('{"a": 1}\n{"a": 2}\n'), [{ a: 1 }, { a: 2 }])
})

t.test('an address and certificates are enough', async t => {
  const { overTls, folder } = await fakeCoordinator(t)
  const port = await overTls()
  const [ca, cert, key] = ['ca.pem', 'admin.pem', 'admin.key'].map(name => `${folder}/${name}`) as [
    string,
    string,
    string
  ]
  const where = ['--address', `127.0.0.1:${port}`, '--ca', ca, '--cert', cert, '--key', key]
  t.match((await drover('', [...where, 'grpc', 'list'])).out, /^drover\.v1\.VmService$/m)
  t.match(await drover('', [...where, 'vm', 'list']), { code: 0, out: 'no VMs\n' })
  const anonymous = await drover('', ['--address', `127.0.0.1:${port}`, '--ca', ca, 'vm', 'list'])
  t.match(anonymous, { code: 4, err: /UNAUTHENTICATED/ })
})
