import { readFile, readlink } from 'node:fs/promises'
import type { DeviceUse } from './luns.js'

const system = ['/', '/boot', '/boot/efi', '/usr', '/var', '/home', '/etc']

/** Mounts (of the machine, not only of this process) and swap, by the kernel's name of their device. */
export async function readDeviceUses(proc = '/proc', sys = '/sys'): Promise<DeviceUse[]> {
  const text = (path: string) => readFile(path, 'utf8').catch(() => '')
  const mounts = parseMounts(
    await text(`${proc}/1/mountinfo`).then(own => own || text(`${proc}/self/mountinfo`))
  )
  const named = await Promise.all(
    mounts.map(async ({ number, target }) => {
      const link = await readlink(`${sys}/dev/block/${number}`).catch(() => null)
      const device = link?.split('/').at(-1)
      return device === undefined ? [] : [mountUse(device, target)]
    })
  )
  const swaps = (await text(`${proc}/swaps`)).split('\n').slice(1)
  const swap = swaps.flatMap(line => {
    const device = /^\/dev\/(\S+)/.exec(line)?.[1]
    return device === undefined ? [] : [{ device, use: 'swap', isSystem: true }]
  })
  return [...named.flat(), ...swap]
}

const mountUse = (device: string, target: string): DeviceUse => ({
  device,
  use: `mounted at ${target}`,
  isSystem: system.includes(target)
})

/** Device numbers and places of /proc/PID/mountinfo; file systems without a device have major number 0. */
export function parseMounts(mountinfo: string): Array<{ number: string; target: string }> {
  return mountinfo.split('\n').flatMap(line => {
    const [, , number = '', , target = ''] = line.split(' ')
    return number === '' || number.startsWith('0:') ? [] : [{ number, target }]
  })
}
