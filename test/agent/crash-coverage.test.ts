import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { crashPoints } from '../host/agent/crash-points.js'
import { root } from '../root.js'

const agent = join(root, 'agent')

t.test(
  'the agent is killed at every crash point that its verbs for VMs have, and each has its own name',
  async t => {
    const files = (await readdir(agent, { recursive: true })).filter(name => name.endsWith('.ts'))
    const sources = await Promise.all(files.map(name => readFile(join(agent, name), 'utf8')))
    const named = sources.flatMap(text =>
      [...text.matchAll(/crashpoint\('(vm\.[^']+)'\)/g)].map(([, name]) => name!)
    )
    const killed = Object.entries(crashPoints).flatMap(([verb, points]) =>
      points.map(point => `vm.${verb}.${point}`)
    )
    t.strictSame(named.toSorted(), killed.toSorted())
  }
)
