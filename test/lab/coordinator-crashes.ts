import { kindsOf, type JobKind } from '../../coordinator/jobs/kinds.js'
import { poll } from './lab.js'
import type { World } from './world.js'

const kinds = kindsOf({} as never, {} as never, {} as never)

/** After each step of a job, when it has had its effect and that is not written down yet. */
export const pointsOf = (kind: JobKind): string[] =>
  kinds[kind].steps.filter(({ atCreation }) => !atCreation).map(({ name }) => `job.${kind}.${name}.done`)

const folder = '/run/drover-crash'

// Each start takes the next point of the list for the one at which this life of the coordinator ends.
const takeNext = `#!/bin/sh
cd ${folder} 2>/dev/null || exit 0
point=$(head -n 1 list)
sed -i 1d list
if [ -n "$point" ]; then printf 'NODE_ENV=test\\nDROVER_CRASHPOINTS=kill@%s\\n' "$point" >env; else rm -f env; fi
`
const dropIn = `[Service]
EnvironmentFile=-${folder}/env
ExecStartPre=+/usr/local/sbin/take-next-crash
RestartSec=0.2
`

/** Ends the coordinator by SIGKILL at named points, one a life; systemd starts it again each time. */
export class CoordinatorCrashes {
  readonly #world: World

  constructor(world: World) {
    this.#world = world
  }

  async install(): Promise<void> {
    const { lab } = this.#world
    const unit = '/etc/systemd/system/drover-coordinator.service.d'
    await lab.shell(
      'coord',
      'cat >/usr/local/sbin/take-next-crash; chmod 755 /usr/local/sbin/take-next-crash',
      {
        input: takeNext
      }
    )
    await lab.shell('coord', `mkdir -p ${unit}; cat >${unit}/crash.conf; systemctl daemon-reload`, {
      input: dropIn
    })
    await this.arm([])
  }

  /** In this order. */
  async arm(points: readonly string[]): Promise<void> {
    const input = points.map(point => `${point}\n`).join('')
    const start = `mkdir -p ${folder}; cat >${folder}/list; systemctl restart drover-coordinator`
    await this.#world.lab.shell('coord', start, { input })
    await poll('the coordinator is back', 60, () =>
      this.#world.api.ask(this.#world.services.coordinator.GetCoordinator, {}, 5)
    )
  }

  /** Points that were not reached yet; the first one is armed. */
  async left(): Promise<string[]> {
    const show = `cat ${folder}/list; sed -n 's/^DROVER_CRASHPOINTS=kill@//p' ${folder}/env 2>/dev/null || true`
    return (await this.#world.lab.shell('coord', show)).split('\n').filter(line => line !== '')
  }
}
