import { RpcClient } from '../../../common/client.js'
import { systemClock } from '../../../common/clock.js'
import { agentServices } from '../../../proto/load.js'
import { poll } from '../lab.js'
import type { ProgressOf } from '../progress.js'
import type { LoopWorld } from '../loop-world.js'
import { BlockWorld } from '../vm/block-world.js'
import type { Step } from './runner.js'
import { Story } from './story.js'

const MiB = 2 ** 20
const secondsSince = (begin: number) => ((performance.now() - begin) / 1000).toFixed(1)

/** What an agent tells of a thin disk it keeps ahead of its guest. */
type Thin = {
  diskId: string
  history: Array<{ at: number; from: number; to: number; way: string; took: number }>
  usage: { physical: number; allocation: number }
}

const usualNames = ['boot three hosts', 'install the packages']
const bootVms = (world: BlockWorld): Step[] => [
  {
    name: 'boot an iSCSI target, two hosts and a coordinator',
    run: () => world.boot().then(() => "stor, h1 and h2 have Debian's own kernel, under emulation")
  },
  {
    name: 'set them up',
    run: () => world.install().then(() => 'LIO on stor, drover-agent on h1 and h2')
  }
]

/** The main job on a LUN: a thin disk grows under a guest that fills it, over a migration and a power cut. */
export class BlockStory extends Story {
  readonly #block: BlockWorld | LoopWorld

  constructor(world: BlockWorld | LoopWorld) {
    super(world)
    this.#block = world
  }

  override get steps(): Step[] {
    const usual = new Map(super.steps.map(step => [step.name, step]))
    const same = (name: string, as = name): Step => ({ name: as, run: usual.get(name)!.run })
    const begin =
      this.#block instanceof BlockWorld ? bootVms(this.#block) : usualNames.map(name => same(name))
    return [
      ...begin,
      ...['start the coordinator', 'create a cluster', 'enrol two hosts'].map(name => same(name)),
      { name: 'find the LUN', run: () => this.#block.findLun() },
      same('create shared storage', 'create a storage domain on it'),
      ...['import an image as a template', 'create a highly available VM'].map(name => same(name)),
      ...['start it', 'wait for the guest'].map(name => same(name)),
      { name: 'see its thin disk grow', run: progress => this.#growApart(progress) },
      same('migrate it live while it writes'),
      { name: 'see it grow from the new host', run: progress => this.#grow(progress, 1) },
      ...['cut the power of its host', 'see it restarted on the other host'].map(name => same(name)),
      same('find its acknowledged writes'),
      { name: 'see it grow again', run: progress => this.#grow(progress, 1) },
      same('audit')
    ]
  }

  /** The host that asks for room and the one that gives it are two. */
  async #growApart(progress: ProgressOf): Promise<string> {
    const { hostId } = await this.#block.vm(this.vmId)
    const [asks, manages] = [this.#block.nameOf(hostId), await this.#manager()]
    if (asks === manages) throw new Error(`host ${asks} asks for room and manages the storage domain as well`)
    return this.#grow(progress, 2)
  }

  /** The host that stands as the manager of the storage domain, as the coordinator sees it. */
  async #manager(): Promise<string> {
    const { api, services, ids, patience } = this.#block
    return poll('a manager of the storage domain', 60 * patience, async () => {
      const storageDomainId = ids.storageDomain
      const { hosts } = await api.ask(services.storageDomain.GetStorageDomain, { storageDomainId })
      const manager = hosts.find(host => host.manager)
      return manager ? this.#block.nameOf(manager.hostId) : null
    })
  }

  /** Waits for extensions of the data disk on the host where the VM is now, and says how they came. */
  async #grow(progress: ProgressOf, times: number): Promise<string> {
    const { lab, patience } = this.#block
    const { hostId } = await this.#block.vm(this.vmId)
    const host = this.#block.nameOf(hostId)
    using client = new RpcClient({ unixPath: await lab.socket(host, '/run/drover/agent.sock') }, systemClock)
    const look = async () => {
      const { json } = await client.call(agentServices.debug.Dump, {}, AbortSignal.timeout(60_000))
      const { thin } = JSON.parse(json) as { thin: { disks: Thin[] } }
      const disk = thin.disks.find(({ diskId }) => diskId === this.#block.dataDisk)
      progress(disk ? `${disk.usage.allocation / MiB} of ${disk.usage.physical / MiB} MiB` : 'not seen yet')
      return disk ?? null
    }
    const before = (await poll('the thin disk in the agent', 60 * patience, look)).history.at(-1)?.at ?? 0
    const begin = performance.now()
    const { history, usage } = await poll(`${times} extension(s)`, 120 * patience, async () => {
      const disk = await look()
      return disk && disk.history.filter(({ at }) => at > before).length >= times ? disk : null
    })
    const news = history.filter(({ at }) => at > before)
    const lines = news.map(({ from, to, way, took }) => {
      return `${from / MiB} → ${to / MiB} MiB in ${took.toFixed(2)} s (${way})`
    })
    const taken = (usage.allocation / MiB).toFixed(0)
    const manager = await this.#manager()
    const summary = `${news.length} extensions on ${host}, managed by ${manager}, in ${secondsSince(begin)} s; ${taken} MiB taken up`
    return [summary, ...lines.slice(-4)].join('\n')
  }
}
