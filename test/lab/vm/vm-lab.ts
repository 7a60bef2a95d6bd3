import { type ExecOptions, Lab } from '../lab.js'
import { Vm } from './vm.js'

/** A lab whose hypervisors are VMs with Debian's kernel, and whose coordinator is a host of namespaces on their switch. */
export class VmLab extends Lab {
  readonly vms: ReadonlyMap<string, Vm>

  constructor(name: string, numbers: Record<string, number>) {
    super(name)
    this.vms = new Map(Object.entries(numbers).map(([host, number]) => [host, new Vm(this, host, number)]))
  }

  vm(host: string): Vm {
    const vm = this.vms.get(host)
    if (!vm) throw new Error(`${host} is no VM of this lab`)
    return vm
  }

  override exec(host: string, command: string[], options: ExecOptions = {}): Promise<string> {
    if (!this.vms.has(host)) return super.exec(host, command, options)
    return this.shell(host, command.map(word => `'${word.replaceAll("'", `'\\''`)}'`).join(' '), options)
  }
  override shell(host: string, script: string, options: ExecOptions = {}): Promise<string> {
    const vm = this.vms.get(host)
    if (!vm) return super.shell(host, script, options)
    const { seconds = 120, input = '' } = options
    const fed = input === '' ? '' : `exec <<'LAB_END_OF_INPUT'\n${input}\nLAB_END_OF_INPUT\n`
    return vm.shell(fed + script, seconds)
  }
  override async address(host: string): Promise<string> {
    const vm = this.vms.get(host)
    return vm ? `${await this.subnet()}.${vm.number}` : super.address(host)
  }
  override async off(host: string): Promise<string> {
    const vm = this.vms.get(host)
    if (!vm) return super.off(host)
    await vm.off()
    return ''
  }
  override socket(host: string, path: string): Promise<string> {
    return this.vms.get(host)?.socket(path) ?? super.socket(host, path)
  }
  override async down(): Promise<string> {
    for (const vm of this.vms.values()) vm.closeSockets()
    return super.down()
  }
}
