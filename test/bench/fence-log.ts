import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Lab } from '../lab/lab.js'

// The fence agent of the lab's hosts, with a note of each answer: on both sides of a comparison the same program.

const wrapper = `#!/bin/sh
input=$(cat)
printf '%s\\n' "$input" | /usr/sbin/fence_real "$@"
code=$?
action=$(printf '%s\\n' "$input" "$*" | sed -n 's/.*\\(action=\\|-o \\|--action \\)//p' | head -n 1)
echo "$(date +%s%3N) $action $code" >>/lab/files/fence.log
exit $code
`

export async function noteFencing(lab: Lab, hosts: readonly string[]): Promise<void> {
  const script = `mv /usr/sbin/fence_ipmilan /usr/sbin/fence_real
    cat >/usr/sbin/fence_ipmilan; chmod 755 /usr/sbin/fence_ipmilan`
  await Promise.all(hosts.map(host => lab.shell(host, script, { input: wrapper })))
}

/** When a fence agent first answered "off" after a moment, in ms: a status read, or a command that succeeded. */
export async function firstOff(lab: Lab, moment: number): Promise<number> {
  const lines = (await readFile(join(lab.files, 'fence.log'), 'utf8')).split('\n')
  const offs = lines.flatMap(line => {
    const [time, action, code] = line.split(' ')
    const isOff = (action === 'status' && code === '2') || (action === 'off' && code === '0')
    return isOff && Number(time) > moment ? [Number(time)] : []
  })
  return Math.min(...offs)
}

export const forgetFencing = (lab: Lab): Promise<void> => rm(join(lab.files, 'fence.log'), { force: true })
