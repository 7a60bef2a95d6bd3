import t from 'tap'
import { Fault } from '../../../common/fault.js'
import type { Run } from '../../../common/run.js'
import {
  hostKey,
  hostOfKey,
  parseKeys,
  parseReservation
} from '../../../storage/connections/reservation-args.js'
import { Reservations } from '../../../storage/connections/reservations.js'

const signal = new AbortController().signal
const ours = hostKey(1, 7)
const theirs = hostKey(2, 3)

/** A LUN as sg_persist shows it: keys by path, and a reservation that all registered hosts hold. */
function fakeLun({ deaf = false, foreign = false } = {}) {
  const keys = new Map<string, string>()
  let type: string | null = foreign ? 'Exclusive Access' : null
  const run: Run = async (_command, args, _signal, { okCodes = [0] } = {}) => {
    const path = args.at(-1) ?? ''
    const value = (name: string) => args.find(arg => arg.startsWith(`${name}=`))?.split('=')[1] ?? ''
    const done = (stdout = '') => ({ code: 0, stdout, stderr: '' })
    if (args.includes('--read-keys'))
      return done(
        `  LIO-ORG  one 4.0\n  Peripheral device type: disk\n  PR generation=0x4, registered reservation keys follow:\n${[...keys.values()].map(key => `    ${key}\n`).join('')}`
      )
    if (args.includes('--read-reservation'))
      return done(
        type === null
          ? '  Peripheral device type: disk\n  PR generation=0x1, there is NO reservation held\n'
          : `  Peripheral device type: disk\n  PR generation=0x2, Reservation follows:\n    Key=0x0\n    scope: LU_SCOPE,  type: ${type}\n`
      )
    if (args.includes('--register-ignore')) keys.set(path, value('--param-sark'))
    if (args.includes('--register')) keys.delete(path)
    if (args.includes('--reserve')) type = 'Write Exclusive, all registrants'
    if (args.includes('--preempt-abort')) {
      if (!okCodes.includes(0)) throw new Fault('COMMAND_FAILED', 'conflict')
      for (const [path, key] of keys) if (key === value('--param-sark') && !deaf) keys.delete(path)
    }
    return done()
  }
  return { reservations: new Reservations(run), keys }
}

const reasonOf = (work: Promise<void>) =>
  work.then(
    () => null,
    (error: unknown) => (error instanceof Fault ? error.reason : error)
  )

t.test('a key says which host it is of, and which of its lives', async t => {
  t.equal(ours, '0x4452000100000007')
  t.strictSame(hostOfKey(hostKey(249, 12)), { sanlockHostId: 249, generation: 12 })
  t.equal(hostOfKey('0xabc'), null)
  t.not(hostKey(1, 1), hostKey(1, 2), 'a later life has another key')
})

t.test('a host registers on every path, and then only registered hosts write', async t => {
  const { reservations, keys } = fakeLun()
  await reservations.register(['/dev/sda', '/dev/sdb'], ours, signal)
  t.strictSame(Object.fromEntries(keys), { '/dev/sda': ours, '/dev/sdb': ours })
  t.match(await reservations.read('/dev/sda', signal), { type: 'Write Exclusive, all registrants' })
})

t.test("a LUN that is reserved in another way is somebody else's", async t => {
  const { reservations } = fakeLun({ foreign: true })
  t.equal(await reasonOf(reservations.register(['/dev/sda'], ours, signal)), 'LUN_IN_USE')
})

t.test('a dead host loses its key on all its paths, and ours stays', async t => {
  const { reservations, keys } = fakeLun()
  await reservations.register(['/dev/sda'], ours, signal)
  keys.set('other/1', theirs).set('other/2', theirs)
  await reservations.preempt('/dev/sda', ours, theirs, signal)
  t.strictSame([...keys.values()], [ours])
  await t.resolves(reservations.preempt('/dev/sda', ours, theirs, signal), 'again: it is gone already')
})

t.test('what the LUN still shows after a preempt is no proof', async t => {
  const { reservations, keys } = fakeLun({ deaf: true })
  await reservations.register(['/dev/sda'], ours, signal)
  keys.set('other', theirs)
  t.equal(await reasonOf(reservations.preempt('/dev/sda', ours, theirs, signal)), 'FENCING_FAILED')
})

t.test('a host that has been fenced itself proves nothing, nor does a LUN without a reservation', async t => {
  const { reservations, keys } = fakeLun()
  t.equal(await reasonOf(reservations.preempt('/dev/sda', ours, theirs, signal)), 'WRONG_STATE')
  keys.set('/dev/sda', ours)
  t.equal(await reasonOf(reservations.preempt('/dev/sda', ours, theirs, signal)), 'WRONG_STATE')
})

t.test('keys and reservations are read as sg_persist prints them', async t => {
  const keys = `  LIO-ORG   one               4.0 \n  Peripheral device type: disk\n  PR generation=0x3, 2 registered reservation keys follow:\n    0x4452000100000007\n    0x123abc\n`
  t.strictSame(parseKeys(keys), ['0x4452000100000007', '0x123abc'])
  t.strictSame(parseKeys('  PR generation=0x0, there are NO registered reservation keys\n'), [])
  const held = `  LIO-ORG   FILEIO            4.0\n  Peripheral device type: disk\n  PR generation=0x1, Reservation follows:\n    Key=0x0\n    scope: LU_SCOPE,  type: Write Exclusive, all registrants\n`
  t.equal(parseReservation(held), 'Write Exclusive, all registrants')
  t.equal(
    parseReservation('  Peripheral device type: disk\n  PR generation=0x1, there is NO reservation held\n'),
    null
  )
})
