import t from 'tap'
import { eventMessages as m } from '../../libvirt/event-messages.js'
import { decodeEvent, wantedEventIds } from '../../libvirt/events.js'
import type { EventMessage } from '../../libvirt/event-messages.js'
import { encode } from '../../libvirt/xdr.js'

const uuid = '6695eb01-f6a4-8304-79aa-97f2502e193f'
const dom = { name: 'g', uuid, id: 3 }
const about = { callbackId: 0, dom }
const address = { family: 0, node: '10.0.0.1', service: '5900' }

function sent<T>(message: EventMessage<T>, fields: T) {
  return decodeEvent(message.program, message.number, encode(message.codec, fields))
}

const table: Array<[ReturnType<typeof decodeEvent>, Record<string, unknown>]> = [
  [
    sent(m.lifecycle, { ...about, event: 5, detail: 3 }),
    { kind: 'lifecycle', change: 'stopped', detail: 'migrated' }
  ],
  [
    sent(m.lifecycle, { ...about, event: 3, detail: 2 }),
    { kind: 'lifecycle', change: 'suspended', detail: 'ioerror' }
  ],
  [
    sent(m.lifecycle, { ...about, event: 2, detail: 77 }),
    { kind: 'lifecycle', change: 'started', detail: 'unknown' }
  ],
  [sent(m.reboot, about), { kind: 'reboot' }],
  [sent(m.rtcChange, { ...about, offset: -3600n }), { kind: 'rtcChange', offset: -3600 }],
  [sent(m.watchdog, { ...about, action: 2 }), { kind: 'watchdog', action: 'reset' }],
  [
    sent(m.ioErrorReason, { ...about, srcPath: '/v', alias: 'ua-1', action: 1, reason: 'enospc' }),
    { kind: 'ioError', path: '/v', alias: 'ua-1', action: 'pause', noSpace: true }
  ],
  [
    sent(m.ioErrorReason, { ...about, srcPath: '/v', alias: 'ua-1', action: 2, reason: '' }),
    { kind: 'ioError', path: '/v', alias: 'ua-1', action: 'report', noSpace: false }
  ],
  [
    sent(m.graphics, {
      ...about,
      phase: 2,
      local: address,
      remote: address,
      authScheme: 'vnc',
      subject: []
    }),
    {
      kind: 'graphics',
      phase: 'disconnect',
      local: { node: '10.0.0.1', service: '5900' },
      remote: { node: '10.0.0.1', service: '5900' },
      authScheme: 'vnc'
    }
  ],
  [sent(m.controlError, about), { kind: 'controlError' }],
  [
    sent(m.blockJob2, { ...about, dst: 'vda', type: 4, status: 3 }),
    { kind: 'blockJob', disk: 'vda', type: 'active_commit', status: 'ready' }
  ],
  [
    sent(m.diskChange, { ...about, oldSrcPath: '/a', newSrcPath: null, alias: 'x', reason: 0 }),
    { kind: 'diskChange', oldPath: '/a', newPath: null, alias: 'x' }
  ],
  [sent(m.trayChange, { ...about, alias: 'x', reason: 0 }), { kind: 'trayChange', alias: 'x', tray: 'open' }],
  [sent(m.pmSuspend, { ...about, reason: 0 }), { kind: 'powerManagement', change: 'suspend' }],
  [sent(m.pmSuspendDisk, { ...about, reason: 0 }), { kind: 'powerManagement', change: 'suspendDisk' }],
  [sent(m.pmWakeup, { ...about, reason: 0 }), { kind: 'powerManagement', change: 'wakeup' }],
  [sent(m.balloonChange, { ...about, actual: 4096n }), { kind: 'balloonChange', actualKiB: 4096 }],
  [sent(m.deviceAdded, { ...about, alias: 'x' }), { kind: 'deviceAdded', alias: 'x' }],
  [sent(m.deviceRemoved, { ...about, alias: 'x' }), { kind: 'deviceRemoved', alias: 'x' }],
  [sent(m.deviceRemovalFailed, { ...about, alias: 'x' }), { kind: 'deviceRemovalFailed', alias: 'x' }],
  [
    sent(m.agentLifecycle, { ...about, state: 2, reason: 2 }),
    { kind: 'agentLifecycle', state: 'disconnected', reason: 'channel' }
  ],
  [sent(m.migrationIteration, { ...about, iteration: 2 }), { kind: 'migrationIteration', iteration: 2 }],
  [
    sent(m.jobCompleted, {
      ...about,
      params: [
        { field: 'success', value: { type: 'boolean', value: true } },
        { field: 'time_elapsed', value: { type: 'ullong', value: 2n ** 60n } },
        { field: 'downtime', value: { type: 'ullong', value: 16n } }
      ]
    }),
    { kind: 'jobCompleted', params: { success: true, time_elapsed: 2n ** 60n, downtime: 16 } }
  ],
  [sent(m.tunable, { ...about, params: [] }), { kind: 'tunable', params: {} }],
  [
    sent(m.metadataChange, { ...about, type: 2, nsuri: 'urn:x' }),
    { kind: 'metadataChange', type: 'element', uri: 'urn:x' }
  ],
  [
    sent(m.blockThreshold, { ...about, dev: 'vda[1]', path: null, threshold: 8n, excess: 2n }),
    { kind: 'blockThreshold', dev: 'vda[1]', path: null, threshold: 8, excess: 2 }
  ],
  [
    sent(m.memoryFailure, { ...about, recipient: 1, action: 1, flags: 0 }),
    { kind: 'memoryFailure', recipient: 'guest', action: 'inject' }
  ],
  [
    sent(m.memoryDeviceSizeChange, { ...about, alias: 'x', size: 4n }),
    { kind: 'memoryDeviceSizeChange', alias: 'x', sizeKiB: 4 }
  ]
]

t.test('every kind of event says in words what happened, and to whom', async t => {
  for (const [event, expected] of table) {
    t.strictSame(event, { uuid, name: 'g', ...expected }, JSON.stringify(expected['kind']))
  }
})

t.test('what this version does not know is nothing, and not an error', async t => {
  t.equal(sent(m.lifecycle, { ...about, event: 99, detail: 0 }), null)
  t.equal(decodeEvent(0x20008086, 9999, Buffer.alloc(0)), null)
  t.equal(sent(m.ioError, { ...about, srcPath: '', alias: '', action: 0 }), null, 'the older twin')
})

t.test('all kinds are registered except the older twins', async t => {
  const all = Array.from({ length: 27 }, (_, id) => id)
  t.strictSame(
    wantedEventIds.toSorted((a, b) => a - b),
    all.filter(id => id !== 4 && id !== 8)
  )
})
