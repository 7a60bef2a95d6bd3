// What the machine says of itself. systeminformation starts programs to find out, so it is asked when
// capabilities are read, and never in a loop; it is loaded then, and not with the agent.
export type Inventory = { manufacturer: string; product: string; cpuBrand: string }

/** Where the machine does not say, the words that makers leave in unset fields are left out too. */
export async function readInventory(): Promise<Inventory> {
  const { system, cpu } = await import('systeminformation')
  const [machine, processor] = await Promise.all([system(), cpu()])
  const known = (text: string) =>
    /^(-|none|default string|to be filled.*)?$/i.test(text.trim()) ? '' : text.trim()
  return {
    manufacturer: known(machine.manufacturer),
    product: known(machine.model),
    cpuBrand: known(processor.brand)
  }
}
