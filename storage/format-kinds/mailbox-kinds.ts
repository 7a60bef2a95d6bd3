import { FormatError } from '../format/format-error.js'
import { ManagerMailbox, messageNumber } from '../format/mailbox-manager.js'
import {
  type ExtendRequest,
  areaSize,
  cleanSlot,
  decodeSlot,
  encodeExtend,
  eventOf,
  eventPage,
  isPageSealed,
  messageSize,
  pageChecksum,
  pageOf,
  pageSize,
  sealPage,
  slotBytes,
  slotCount,
  storedChecksum,
  usedSlots
} from '../format/mailbox.js'
import { At, type Json, type JsonObject, inputsOf, looksLikeJson, parseJson, recomputed } from './json.js'
import type { Kind } from './kind.js'

function messageJson(message: Buffer): JsonObject {
  const slot = decodeSlot(message)
  if (slot.kind !== 'extend') throw new FormatError('invalid', 'not a message that asks for an extension', 0)
  return { domain: slot.storageDomainId, volume: slot.volumeId, sizeMiB: slot.sizeMiB }
}

function requestOf(message: At): ExtendRequest {
  return {
    storageDomainId: message.get('domain').uuid(),
    volumeId: message.get('volume').uuid(),
    sizeMiB: message.get('sizeMiB').number()
  }
}

export const mailboxMessages: Kind = {
  name: 'mailbox-messages',
  about: 'messages of 64 bytes: a list with hexadecimal bytes, or the raw bytes of one or more',
  decode(bytes) {
    if (looksLikeJson(bytes)) {
      return recomputed(parseJson(bytes), 'messages', message => messageJson(message.get('hex').hex()))
    }
    if (bytes.length === 0 || bytes.length % messageSize !== 0) {
      throw new FormatError('truncated', `messages have ${messageSize} bytes each`, bytes.length)
    }
    const messages = Array.from({ length: bytes.length / messageSize }, (_, i) => slotBytes(bytes, i))
    return { messages: messages.map(message => ({ ...messageJson(message), hex: message.toString('hex') })) }
  },
  encode(json) {
    const inputs = inputsOf(json)
    if (!inputs.isObject || !inputs.has('messages')) return encodeExtend(requestOf(inputs))
    const hex = (message: At) => encodeExtend(requestOf(message)).toString('hex')
    return recomputed(json, 'messages', message => ({ hex: hex(message) }))
  }
}

function slotsJson(page: Buffer): Json[] {
  return usedSlots(page).map(({ slot, content }) => {
    if (content.kind === 'clean') return { slot, type: 'clean' }
    if (content.kind === 'unknown') {
      return { slot, type: 'message', version: content.version, opcode: content.operation }
    }
    const { version, storageDomainId, volumeId, sizeMiB } = content
    const message = { domain: storageDomainId, volume: volumeId, sizeMiB }
    return { slot, type: 'message', version, opcode: 'xtnd', ...message }
  })
}

function writeSlots(page: Buffer, slots: At[]): void {
  for (const entry of slots) {
    const slot = entry.get('slot').number()
    if (slot < 0 || slot >= slotCount) throw entry.get('slot').wrong(`a slot from 0 to ${slotCount - 1}`)
    messageBytes(entry).copy(slotBytes(page, slot))
  }
}

function messageBytes(entry: At): Buffer {
  if (entry.has('type') && entry.get('type').text() === 'clean') return cleanSlot
  const operation = entry.has('opcode') ? entry.get('opcode').text() : 'xtnd'
  const message = operation === 'xtnd' ? encodeExtend(requestOf(entry)) : Buffer.alloc(messageSize, '0')
  message.write(`${entry.has('version') ? entry.get('version').text() : '1'}${operation}`, 0, 5, 'latin1')
  return message
}

/** How many requests a manager takes from a page. */
function queuedBy(page: Buffer): number {
  const area = Buffer.alloc(areaSize)
  page.copy(pageOf(area, 1))
  return new ManagerMailbox().read(area).requests.length
}

/** True for a page at which one has to ask: a checksum that does not fit, or messages that are unusual. */
function isQuestionable(page: Buffer): boolean {
  const isUnusual = usedSlots(page).some(
    ({ content }) => content.kind === 'unknown' || (content.kind === 'extend' && content.version !== '1')
  )
  return isUnusual || (storedChecksum(page) !== 0 && !isPageSealed(page))
}

export const mailboxPage: Kind = {
  name: 'mailbox-page',
  about: "a host's page of 4096 bytes in inbox or outbox, or the event block",
  decode(bytes) {
    if (bytes.length !== pageSize)
      throw new FormatError('truncated', `a page has ${pageSize} bytes`, bytes.length)
    const eventUuid = eventOf(bytes)
    return {
      checksum: storedChecksum(bytes),
      checksumValid: isPageSealed(bytes),
      slots: slotsJson(bytes),
      ...(eventUuid === null ? {} : { eventUuid }),
      ...(isQuestionable(bytes) ? { spmQueues: queuedBy(bytes) } : {})
    }
  },
  encode(json) {
    const root = new At(json)
    const inputs = root.has('expect') ? root.get('expect') : inputsOf(json)
    if (inputs.has('eventUuid')) return eventPage(inputs.get('eventUuid').uuid())
    const page = Buffer.alloc(pageSize)
    writeSlots(page, inputs.has('slots') ? inputs.get('slots').list() : [])
    const isReply = inputs.has('checksumValid') && !inputs.get('checksumValid').boolean()
    if (!isReply) return sealPage(page)
    page.writeUInt32LE(inputs.get('checksum').word(), pageSize - 4)
    return page
  }
}

function queueJson(area: Buffer): Json[] {
  return new ManagerMailbox().read(area).requests.map(request => ({
    msgId: messageNumber(request.sanlockHostId, request.slot),
    host: request.sanlockHostId,
    slot: request.slot,
    domain: request.storageDomainId,
    volume: request.volumeId,
    sizeMiB: request.sizeMiB
  }))
}

export const mailboxArea: Kind = {
  name: 'mailbox-area',
  about: 'the whole inbox of 250 pages: what a newly started manager takes from it, in order',
  decode(bytes) {
    if (bytes.length < areaSize)
      throw new FormatError('truncated', `the inbox has ${areaSize} bytes`, bytes.length)
    const eventUuid = eventOf(pageOf(bytes, 0))
    return { queued: queueJson(bytes), ...(eventUuid === null ? {} : { eventUuid }) }
  },
  encode(json) {
    const root = new At(json)
    const inputs = root.has('expect') ? root.get('expect') : root
    const area = Buffer.alloc(areaSize)
    if (inputs.has('eventUuid')) eventPage(inputs.get('eventUuid').uuid()).copy(pageOf(area, 0))
    const hosts = new Set<number>()
    for (const entry of inputs.get('queued').list()) {
      const host = entry.get('host').number()
      if (host < 1 || host > 249) throw entry.get('host').wrong('a host from 1 to 249')
      writeSlots(pageOf(area, host), [entry])
      hosts.add(host)
    }
    for (const host of hosts) sealPage(pageOf(area, host))
    return area
  }
}

/** Bytes from slot 0 to the last one in use, and the field of the checksum. */
function pageHex(page: Buffer): JsonObject {
  let end = 0
  for (let slot = 0; slot < slotCount; slot++) {
    if (slotBytes(page, slot).some(byte => byte !== 0)) end = (slot + 1) * messageSize
  }
  return { slotsHex: page.toString('hex', 0, end), last4: page.toString('hex', pageSize - 4) }
}

function pageOfHex(hex: At): Buffer {
  const page = Buffer.alloc(pageSize)
  hex.get('slotsHex').hex().copy(page)
  hex
    .get('last4')
    .hex()
    .copy(page, pageSize - 4)
  return page
}

/** Goes through a conversation step by step; each step's page replaces the one before it in the inbox. */
function walkTrace(
  json: Json,
  pageOfStep: (step: At) => Buffer,
  results: (page: Buffer) => JsonObject
): Json {
  const inbox = Buffer.alloc(areaSize)
  return recomputed(json, 'steps', step => {
    if (!step.has('area')) {
      const { requests } = new ManagerMailbox().read(inbox)
      return { queued: requests.map(({ sanlockHostId, slot }) => [sanlockHostId, slot]) }
    }
    const page = pageOfStep(step)
    if (step.get('area').text() === 'inbox') page.copy(pageOf(inbox, step.get('page').number()))
    return results(page)
  })
}

export const mailboxTrace: Kind = {
  name: 'mailbox-trace',
  about: 'a conversation over the mailbox, with the page after each step',
  decode(bytes) {
    return walkTrace(
      parseJson(bytes),
      step => pageOfHex(step.get('hex')),
      page => ({ slots: slotsJson(page), hex: pageHex(page) })
    )
  },
  encode(json) {
    const pageOfStep = (step: At): Buffer => {
      const isInbox = step.get('area').text() === 'inbox'
      if (isInbox && step.get('page').number() === 0) {
        return step.has('eventUuid') ? eventPage(step.get('eventUuid').uuid()) : pageOfHex(step.get('hex'))
      }
      const page = Buffer.alloc(pageSize)
      writeSlots(page, step.get('slots').list())
      return isInbox ? sealPage(page) : page
    }
    return walkTrace(json, pageOfStep, page => ({ hex: pageHex(page) }))
  }
}

/** Pages in words, as the worked examples have them. */
function describedPage(text: At): Buffer {
  const words = text.text()
  if (words === 'all zero') return Buffer.alloc(pageSize)
  const whole = /^all 0x([0-9a-f]{2})$/.exec(words)
  if (whole !== null) return Buffer.alloc(pageSize, Number.parseInt(whole[1] ?? '', 16))
  const some = /^(\d{1,4}) bytes 0x([0-9a-f]{2}) then zero$/.exec(words)
  if (some === null) throw text.wrong('"all zero", "all 0xHH" or "N bytes 0xHH then zero"')
  return Buffer.alloc(pageSize).fill(Number.parseInt(some[2] ?? '', 16), 0, Number(some[1]))
}

function recomputeChecksums(json: Json): Json {
  return recomputed(json, 'cases', example => {
    const checksum = pageChecksum(describedPage(example.get('page')))
    const field = Buffer.alloc(4)
    field.writeUInt32LE(checksum)
    return { checksum, le4: field.toString('hex') }
  })
}

export const mailboxChecksums: Kind = {
  name: 'mailbox-checksums',
  about: 'the checksum of pages described in words',
  decode: bytes => recomputeChecksums(parseJson(bytes)),
  encode: recomputeChecksums
}
