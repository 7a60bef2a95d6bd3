import { stat } from 'node:fs/promises'

/**
 * Whether something is there that can be looked at. By stat: to a process that may not open a device (DevicePolicy of a
 * unit) the kernel refuses access(2) to it, even for the question whether it exists.
 */
export const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false
  )
