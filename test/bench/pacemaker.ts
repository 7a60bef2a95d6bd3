import { execa } from 'execa'
import { cp, mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { poll, type Lab } from '../lab/lab.js'
import { root } from '../root.js'
import { twinOf } from './twin.js'

// Debian's Pacemaker and Corosync on hosts of the lab, as they come: a fence device for each host, and guests as
// resources that libvirt runs. Its packages are only downloaded, and installed inside the lab's hosts: on the
// machine itself their services are not wanted.

const packages = ['pacemaker', 'corosync', 'resource-agents', 'pacemaker-cli-utils']
const folder = join(root, 'build/pacemaker')

export class Pacemaker {
  readonly #lab: Lab
  readonly #hosts: readonly string[]

  constructor(lab: Lab, hosts: readonly string[]) {
    this.#lab = lab
    this.#hosts = hosts
  }

  async install(): Promise<void> {
    await mkdir(join(folder, 'partial'), { recursive: true })
    const install = ['install', '-y', '--download-only', '--no-install-recommends']
    await execa('apt-get', [...install, '-o', `Dir::Cache::archives=${folder}`, ...packages], {
      timeout: 300_000
    })
    const to = join(this.#lab.files, 'pacemaker')
    await mkdir(to, { recursive: true })
    for (const name of (await readdir(folder)).filter(name => name.endsWith('.deb')))
      await cp(join(folder, name), join(to, name))
    // One of them needs another before it is unpacked: it is there for the second call.
    const script = `export DEBIAN_FRONTEND=noninteractive; cd /lab/files/pacemaker
      dpkg -i *.deb >/dev/null 2>&1 || dpkg -i *.deb >/dev/null 2>&1
      systemctl stop pacemaker corosync; cat >/etc/corosync/corosync.conf`
    const input = corosyncOf(await this.#addresses())
    await Promise.all(this.#hosts.map(host => this.#lab.shell(host, script, { seconds: 240, input })))
    await Promise.all(this.#hosts.map(host => this.startOn(host)))
    await this.#whenOnline()
  }

  async startOn(host: string): Promise<void> {
    await this.#lab.shell(host, 'systemctl start corosync pacemaker')
  }

  /** Guests of a definition like ours, each with an empty disk of its own, that would rather run on one host. */
  async define(xml: string, names: readonly string[], preferred: string): Promise<void> {
    const [first = ''] = this.#hosts
    const files = names.map(name => {
      const disk = `/lab/shared/pacemaker/${name}.qcow2`
      return { name, disk, twin: twinOf(xml, name, disk).xml }
    })
    await this.#lab.shell(first, 'mkdir -p /lab/shared/pacemaker')
    for (const { name, disk, twin } of files)
      await this.#lab.shell(
        first,
        `cat >/lab/shared/pacemaker/${name}.xml; qemu-img create -q -f qcow2 ${disk} 64M`,
        { input: twin }
      )
    const devices = await Promise.all(
      this.#hosts.map(async host => ({ host, ...(await this.#lab.powerDevice(host)) }))
    )
    const input = configurationOf(devices, names, preferred)
    await this.#lab.shell(
      first,
      'cat >/tmp/cib.xml; cibadmin --replace --scope configuration --xml-file /tmp/cib.xml',
      { input }
    )
  }

  /** A host that leads nothing: what it runs is lost, and nothing else. */
  async follower(): Promise<string> {
    const [first = ''] = this.#hosts
    const leader = await this.#lab.exec(first, ['crmadmin', '--dc_lookup', '--quiet'])
    return this.#hosts.findLast(host => !leader.includes(host)) ?? first
  }

  async whenAllRunOn(host: string, count: number): Promise<void> {
    await poll(`${count} guests on ${host}`, 300, async () => {
      const list = await this.#lab.exec(host, ['virsh', '-q', 'list', '--name', '--state-running'])
      return list.split('\n').filter(name => name !== '').length === count ? true : null
    })
  }

  async #whenOnline(): Promise<void> {
    const [first = ''] = this.#hosts
    await poll('all hosts of Pacemaker online', 120, async () => {
      const status = await this.#lab.exec(first, ['crm_mon', '-1'])
      return status.includes(`Online: [ ${this.#hosts.join(' ')} ]`) ? true : null
    })
  }

  #addresses() {
    return Promise.all(this.#hosts.map(async host => ({ host, address: await this.#lab.address(host) })))
  }
}

const corosyncOf = (hosts: ReadonlyArray<{ host: string; address: string }>) => `totem {
  version: 2
  cluster_name: bench
  transport: knet
}
quorum {
  provider: corosync_votequorum
}
logging {
  to_syslog: yes
}
nodelist {
${hosts.map(({ host, address }, at) => `  node {\n    name: ${host}\n    nodeid: ${at + 1}\n    ring0_addr: ${address}\n  }`).join('\n')}
}
`

type Device = { host: string; options: Record<string, string>; secretOptions: Record<string, string> }

/** A fenced host stays off, as with us; everything else as Pacemaker and the agents advise. */
function configurationOf(devices: readonly Device[], names: readonly string[], preferred: string): string {
  const fences = devices.map(({ host, options, secretOptions }) => {
    const hosts = { pcmk_host_list: host, pcmk_host_check: 'static-list' }
    const attributes = pairs(`fence-${host}`, { ...options, ...secretOptions, ...hosts })
    return `<primitive id="fence-${host}" class="stonith" type="fence_ipmilan">${attributes}</primitive>`
  })
  const guests = names.map(name => {
    const config = `/lab/shared/pacemaker/${name}.xml`
    const attributes = pairs(name, { config, hypervisor: 'qemu:///system', force_stop: 'true' })
    const timeouts = { start: '90s', stop: '90s', monitor: '30s' }
    const operations = Object.entries(timeouts).map(([operation, timeout]) => {
      const interval = operation === 'monitor' ? '10s' : '0s'
      return `<op id="${name}-${operation}" name="${operation}" interval="${interval}" timeout="${timeout}"/>`
    })
    return `<primitive id="${name}" class="ocf" provider="heartbeat" type="VirtualDomain">${attributes}
      <operations>${operations.join('')}</operations></primitive>`
  })
  const places = names.map(
    name => `<rsc_location id="at-${name}" rsc="${name}" node="${preferred}" score="50"/>`
  )
  const settings = { 'stonith-enabled': 'true', 'stonith-action': 'off' }
  const options = Object.entries(settings).map(
    ([name, value]) => `<nvpair id="o-${name}" name="${name}" value="${value}"/>`
  )
  return `<configuration>
    <crm_config><cluster_property_set id="options">${options.join('')}</cluster_property_set></crm_config>
    <nodes/><resources>${[...fences, ...guests].join('\n')}</resources><constraints>${places.join('\n')}</constraints>
  </configuration>`
}

function pairs(id: string, values: Record<string, string>): string {
  const all = Object.entries(values).map(
    ([name, value]) => `<nvpair id="${id}-${name}" name="${name}" value="${value}"/>`
  )
  return `<instance_attributes id="${id}-attributes">${all.join('')}</instance_attributes>`
}
