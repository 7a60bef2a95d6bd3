import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { coordinatorServices } from '../../proto/load.js'
import { portalOf, portalText } from '../connection.js'
import { json, table } from '../print.js'
import { idOf } from '../resource.js'
import { hosts } from '../resources.js'
import { withSession, type Session } from '../session.js'
import { formatEnum, formatSize, integer } from '../units.js'

const service = coordinatorServices.san

type ChapOptions = {
  chapUser?: string
  chapSecretFile?: string
  mutualUser?: string
  mutualSecretFile?: string
}

/** Storage networks, as a host sees them: verbs of the noun host. */
export function addSan(noun: Command): void {
  noun
    .command('luns')
    .argument('<HOST>', 'id or name')
    .option('--rescan', 'look for new LUNs and new sizes first')
    .description('LUNs of a host: their size, the ways to them, and what is on them.')
    .action(
      withSession(async (session, host: string, { rescan = false }: { rescan?: boolean }) => {
        const hostId = await idOf(session, hosts, host)
        const { luns } = await session.call(service.ListLuns, { hostId, rescan })
        if (session.options.json) return session.out.print(json(luns))
        const rows = luns.map(lun => [
          lun.wwid,
          formatSize(lun.sizeBytes),
          `${lun.vendor} ${lun.product}`.trim(),
          `${lun.paths.filter(({ state }) => state === 'running' || state === 'live').length}/${lun.paths.length} ${lun.transport}`,
          formatEnum(lun.state, 'LUN_STATE'),
          lun.reason,
          lun.device
        ])
        session.out.print(table(['WWID', 'SIZE', 'MODEL', 'PATHS', 'STATE', 'REASON', 'DEVICE'], rows))
      })
    )
  withChap(noun.command('iscsi-discover'))
    .argument('<HOST>', 'id or name')
    .argument('<PORTAL>', 'HOST or HOST:PORT')
    .description('iSCSI targets that a portal offers to a host.')
    .action(
      withSession(async (session, host: string, portal: string, options: ChapOptions) => {
        const request = { hostId: await idOf(session, hosts, host), portal, chap: chapOf(options) }
        const { portals } = await session.call(service.DiscoverIscsi, request)
        session.out.print(session.options.json ? json(portals) : portals.map(portalText).join('\n'))
      })
    )
  withChap(noun.command('iscsi-login'))
    .argument('<HOST>', 'id or name')
    .argument('<IQN@HOST:PORT...>', 'the target at each of its portals')
    .option('--io-timeout <SECONDS>', 'I/O timeout of sanlock that it must suit (default 10)', integer(1, 40))
    .description('Log a host in to an iSCSI target, through all portals at once. The host keeps the secrets.')
    .action(
      withSession(
        async (session, host: string, portals: string[], options: ChapOptions & { ioTimeout?: number }) => {
          const answer = await session.call(service.LoginIscsi, {
            ...(await sessionsOf(session, host, portals)),
            chap: chapOf(options),
            ioTimeoutSeconds: options.ioTimeout ?? 0
          })
          if (session.options.json) return session.out.print(json(answer))
          for (const line of answer.done) session.out.print(`logged in: ${line}`)
          for (const line of answer.failed) session.out.complain(`failed: ${line}`)
        }
      )
    )
  noun
    .command('iscsi-logout')
    .argument('<HOST>', 'id or name')
    .argument('<IQN@HOST:PORT...>', 'the target at each of its portals')
    .description('Log a host out of an iSCSI target and forget the secrets there.')
    .action(
      withSession(async (session, host: string, portals: string[]) => {
        const answer = await session.call(service.LogoutIscsi, await sessionsOf(session, host, portals))
        if (session.options.json) return session.out.print(json(answer))
        for (const line of answer.done) session.out.print(`logged out: ${line}`)
      })
    )
}

const sessionsOf = async (session: Session, host: string, portals: string[]) => ({
  requestId: session.requestId(),
  hostId: await idOf(session, hosts, host),
  portals: portals.map(portalOf)
})

function withChap(command: Command): Command {
  return command
    .option('--chap-user <NAME>', 'who the host says it is')
    .option('--chap-secret-file <FILE>', 'file with its secret, 12 to 100 characters')
    .option('--mutual-user <NAME>', 'who the target must say it is')
    .option('--mutual-secret-file <FILE>', 'file with the secret that the target must know')
}

/** Secrets come from files: arguments are for everybody to see. */
function chapOf({ chapUser, chapSecretFile, mutualUser, mutualSecretFile }: ChapOptions) {
  if (chapUser === undefined) return null
  const secretIn = (file = '') => (file === '' ? '' : readFileSync(file, 'utf8').replace(/\n$/, ''))
  return {
    user: chapUser,
    secret: secretIn(chapSecretFile),
    mutualUser: mutualUser ?? '',
    mutualSecret: secretIn(mutualSecretFile)
  }
}
