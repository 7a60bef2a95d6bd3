import { parseArgs } from 'node:util'
import { createLog } from '../../common/log.js'
import { commandRunner } from '../../common/run.js'
import { loadConfig } from '../config.js'
import { gatherFacts } from './facts.js'
import type { Finding } from './finding.js'
import { judge } from './judge.js'
import { gatherStorageTimeouts, judgeStorageTimeouts } from './storage-timeouts.js'

/** `drover-agent doctor [--json] [--config FILE]`: what this host lacks and how to mend it. 1 if anything fails. */
export async function doctorCommand(argv: string[]): Promise<number> {
  const { values } = parseArgs({
    args: argv,
    options: {
      json: { type: 'boolean', default: false },
      config: { type: 'string', default: '/etc/drover/agent.toml' }
    }
  })
  const config = loadConfig(values.config)
  const run = commandRunner(createLog('drover-agent', 'silent'))
  const signal = AbortSignal.timeout(60_000)
  const [facts, timeouts] = await Promise.all([
    gatherFacts(config, run, signal),
    gatherStorageTimeouts(run, signal)
  ])
  const port = Number(config.listen.slice(config.listen.lastIndexOf(':') + 1))
  const findings = [...judge(facts, port, new Date()), ...judgeStorageTimeouts(timeouts)]

  const failed = findings.some(({ severity }) => severity === 'failure')
  process.stdout.write(values.json ? `${JSON.stringify({ ok: !failed, findings })}\n` : printed(findings))
  return failed ? 1 : 0
}

const mark = { ok: 'ok     ', warning: 'WARNING', failure: 'FAILURE' }

function printed(findings: Finding[]): string {
  const lines = findings.flatMap(({ name, severity, message, fix }) => [
    `${mark[severity]}  ${name.padEnd(15)} ${message}`,
    ...(fix === null ? [] : [`${' '.repeat(25)}→ ${fix}`])
  ])
  const count = (severity: Finding['severity']) => findings.filter(f => f.severity === severity).length
  return `${[...lines, `${count('failure')} failures, ${count('warning')} warnings`].join('\n')}\n`
}
