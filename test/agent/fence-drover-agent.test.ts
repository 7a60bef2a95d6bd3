import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'

/** The script with an ssh that writes down what it was asked, and ends as it is told. */
function run(lines: string[], sshEnds = 0) {
  const folder = mkdtempSync(join(tmpdir(), 'drover-fence-'))
  try {
    writeFileSync(`${folder}/ssh`, `#!/bin/sh\necho "$*" >${folder}/asked\nexit ${sshEnds}\n`, {
      mode: 0o755
    })
    const { status, stderr } = spawnSync('bash', ['packaging/agent/fence_drover_agent'], {
      input: lines.map(line => `${line}\n`).join(''),
      env: { PATH: `${folder}:${process.env['PATH'] ?? ''}` },
      encoding: 'utf8'
    })
    return { status, stderr, asked: readFileSync(`${folder}/asked`, { encoding: 'utf8', flag: 'a+' }).trim() }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const options = ['ip=10.0.0.9', 'username=drover', 'identity_file=/etc/drover/soft-fence']
const ssh = '-o BatchMode=yes -o ConnectTimeout=10 -i /etc/drover/soft-fence -- drover@10.0.0.9'
const cases: Array<[why: string, lines: string[], sshEnds: number, status: number, asked: string]> = [
  ['on restarts the agent', ['action=on', ...options], 0, 0, `${ssh} systemctl restart drover-agent`],
  [
    'a host that cannot be reached is a failure',
    ['action=on', ...options],
    255,
    255,
    `${ssh} systemctl restart drover-agent`
  ],
  [
    'status is 0 for a running agent',
    ['action=status', ...options],
    0,
    0,
    `${ssh} systemctl is-active --quiet drover-agent`
  ],
  [
    'status is 2 for one that does not run',
    ['action=status', ...options],
    3,
    2,
    `${ssh} systemctl is-active --quiet drover-agent`
  ],
  [
    'status is unknown for a host that cannot be reached',
    ['action=status', ...options],
    255,
    1,
    `${ssh} systemctl is-active --quiet drover-agent`
  ],
  ['off is refused', ['action=off', ...options], 0, 1, ''],
  ['an address that looks like an option is refused', ['action=on', 'ip=-oProxyCommand=x'], 0, 1, ''],
  ['so is a name', ['action=on', 'ip=10.0.0.9', 'username=-oProxyCommand=x'], 0, 1, '']
]
for (const [why, lines, sshEnds, status, asked] of cases) {
  t.test(`the soft fence: ${why}`, async t => {
    const seen = run(lines, sshEnds)
    t.equal(seen.status, status, seen.stderr)
    t.equal(seen.asked, asked)
  })
}
