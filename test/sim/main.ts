import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { drawRun, families, familyOf, runFamily } from './families.js'
import { killMutants } from './kill-mutants.js'
import { production } from './rules.js'
import { expectedLog, logText, runScenario, scenario, scenarioNames, writeLog } from './scenarios.js'
import { asJson, shrink } from './shrink.js'

// npm run sim -- --all --seeds 2000 --from 0     every family, a range of seeds, then every scenario
// npm run sim -- --scenario NAME --seed 17       one run of a family or of a scenario, with its log
// npm run sim -- --scenario NAME --update        writes log.expected anew
// npm run sim -- --mutants --seeds 2000          which seeded bugs are found
// npm run sim -- --list                          families and scenarios

type Chunk = { family: string; from: number; count: number }
type Done = Chunk & { bad: Array<{ seed: number; text: string }> }
const chunkSize = 100

async function runChunk({ family: name, from, count }: Chunk): Promise<Done> {
  const family = familyOf(name)
  const bad: Done['bad'] = []
  for (let seed = from; seed < from + count; seed++) {
    const [finding] = (await runFamily(family, seed)).findings
    if (finding) bad.push({ seed, text: `${finding.invariant} at ${finding.time} s: ${finding.text}` })
  }
  return { family: name, from, count, bad }
}

/** All chunks, over as many threads as there are processors. */
async function runAll(chunks: Chunk[]): Promise<Done[]> {
  const waiting = [...chunks]
  const done: Done[] = []
  const work = async () => {
    const worker = new Worker(new URL(import.meta.url))
    for (let chunk = waiting.shift(); chunk; chunk = waiting.shift()) {
      const answer = once(worker, 'message')
      worker.postMessage(chunk)
      const [found] = (await answer) as [Done]
      done.push(found)
    }
    await worker.terminate()
  }
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), chunks.length) }, work))
  return done
}

async function ranges(names: string[], from: number, count: number): Promise<number> {
  const started = process.hrtime.bigint()
  const chunks = names.flatMap(family =>
    Array.from({ length: Math.ceil(count / chunkSize) }, (_, i) => ({
      ...{ family, from: from + i * chunkSize, count: Math.min(chunkSize, count - i * chunkSize) }
    }))
  )
  const done = await runAll(chunks)
  let total = 0
  for (const name of names) {
    const bad = done.filter(({ family }) => family === name).flatMap(one => one.bad)
    total += bad.length
    for (const { seed, text } of bad.toSorted((a, b) => a.seed - b.seed).slice(0, 3)) {
      console.log(`${name} seed ${seed}: ${text}\n  npm run sim -- --scenario ${name} --seed ${seed}`)
    }
    console.log(`${name}: ${count} seeds, ${bad.length} with findings`)
  }
  const elapsed = Number(process.hrtime.bigint() - started) / 1e9
  console.log(
    `${names.length * count} runs in ${elapsed.toFixed(0)} s, ${Math.round((names.length * count) / elapsed)} a second`
  )
  return total
}

/** One seed of a family, and what of its script is needed for the finding. */
async function one(name: string, seed: number): Promise<number> {
  const family = familyOf(name)
  const run = await runFamily(family, seed)
  console.log(run.log.join('\n'))
  if (run.findings.length === 0) return 0
  const events = await shrink(run, drawRun(family, seed).until, production)
  console.log(`\nThe shortest script that breaks ${run.findings[0]?.invariant}:\n${asJson(run.spec, events)}`)
  return 1
}

async function oneScenario(name: string, seed: number, update: boolean): Promise<number> {
  const { findings, log } = await runScenario(scenario(name), seed)
  console.log(log.join('\n'))
  if (update) writeLog(name, log)
  return findings.length
}

async function allScenarios(update: boolean): Promise<number> {
  let bad = 0
  const names = scenarioNames()
  for (const name of names) {
    const { findings, log } = await runScenario(scenario(name))
    if (update) writeLog(name, log)
    const isSame = update || logText(log) === expectedLog(name)
    if (findings.length === 0 && isSame) continue
    bad++
    const [finding] = findings
    console.log(
      `scenario ${name}: ${finding ? `${finding.invariant}: ${finding.text}` : 'another log than log.expected'}`
    )
    console.log(`  npm run sim -- --scenario ${name}`)
  }
  console.log(`${names.length} scenarios, ${bad} with findings`)
  return bad
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      ...{ all: { type: 'boolean', default: false }, mutants: { type: 'boolean', default: false } },
      ...{ list: { type: 'boolean', default: false }, update: { type: 'boolean', default: false } },
      ...{ scenario: { type: 'string' }, seed: { type: 'string' } },
      ...{ seeds: { type: 'string', default: '2000' }, from: { type: 'string', default: '0' } }
    }
  })
  const names = families.map(({ name }) => name)
  if (values.list) {
    for (const { name, about } of families) console.log(`family ${name}: ${about}`)
    for (const name of scenarioNames()) console.log(`scenario ${name}`)
    return 0
  }
  if (values.mutants) return killMutants(Number(values.seeds))
  const { scenario: wanted } = values
  if (wanted === undefined) {
    const bad = await ranges(names, Number(values.from), Number(values.seeds))
    return bad + (await allScenarios(values.update))
  }
  if (scenarioNames().includes(wanted)) return oneScenario(wanted, Number(values.seed ?? 1), values.update)
  if (values.seed !== undefined) return one(wanted, Number(values.seed))
  return ranges([familyOf(wanted).name], Number(values.from), Number(values.seeds))
}

if (isMainThread) process.exitCode = (await main()) > 0 ? 1 : 0
else
  parentPort?.on(
    'message',
    (chunk: Chunk) => void runChunk(chunk).then(done => parentPort?.postMessage(done))
  )
