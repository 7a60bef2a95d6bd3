import {
  array,
  bytes,
  double,
  i32,
  i64,
  optional,
  str,
  struct,
  u32,
  u64,
  uuid,
  XdrError,
  type Codec
} from './xdr.js'

// The structs that procedures and events share. libvirtd finds objects by uuid alone: a name may be empty
// and an id -1.

export const domain = struct({ name: str, uuid, id: i32 })
export const network = struct({ name: str, uuid })
export const nwfilter = struct({ name: str, uuid })
export const nodeDevice = struct({ name: str })
export const storagePool = struct({ name: str, uuid })
export const storageVol = struct({ pool: str, name: str, key: str })
export const netInterface = struct({ name: str, mac: str })
export const secret = struct({ uuid, usageType: i32, usageId: str })
export const snapshot = struct({ name: str, dom: domain })
export const checkpoint = struct({ name: str, dom: domain })

/** The value of a typed parameter: a union by type. libvirtd insists on the right one. */
export type TypedValue =
  | { type: 'int' | 'uint' | 'double'; value: number }
  | { type: 'llong' | 'ullong'; value: bigint }
  | { type: 'boolean'; value: boolean }
  | { type: 'string'; value: string }

const boolean: Codec<boolean> = {
  layout: 'i',
  write: (to, value) => i32.write(to, value ? 1 : 0),
  read: from => i32.read(from) !== 0
}

const typedValue: Codec<TypedValue> = {
  layout: 'tpv',
  write: (to, { type, value }) => {
    const [number, codec] = members[type]
    i32.write(to, number)
    codec.write(to, value)
  },
  read: from => {
    const number = i32.read(from)
    switch (number) {
      case 1:
        return { type: 'int', value: i32.read(from) }
      case 2:
        return { type: 'uint', value: u32.read(from) }
      case 3:
        return { type: 'llong', value: i64.read(from) }
      case 4:
        return { type: 'ullong', value: u64.read(from) }
      case 5:
        return { type: 'double', value: double.read(from) }
      case 6:
        return { type: 'boolean', value: boolean.read(from) }
      case 7:
        return { type: 'string', value: str.read(from) }
      default:
        throw new XdrError(`a typed parameter of type ${number}`)
    }
  }
}

export const typedParam = struct({ field: str, value: typedValue })
export type TypedParam = { field: string; value: TypedValue }

export const statsRecord = struct({ dom: domain, params: array(typedParam, 262144) })
export const nodeStat = struct({ field: str, value: u64 })
export const memoryStat = struct({ tag: i32, val: u64 })
export const vcpuInfo = struct({ number: u32, state: i32, cpuTime: u64, cpu: i32 })
export const diskError = struct({ disk: str, error: i32 })
export const ipAddr = struct({ type: i32, addr: str, prefix: u32 })
export const domainInterface = struct({ name: str, hwaddr: optional(str), addrs: array(ipAddr, 2048) })
export const fsInfo = struct({ mountpoint: str, name: str, fstype: str, devAliases: array(str, 256) })
export const graphicsAddress = struct({ family: i32, node: str, service: str })
export const graphicsIdentity = struct({ type: str, name: str })

export const ioThreadInfo = struct({ id: u32, cpuMap: bytes() })
export const networkPort = struct({ net: network, uuid })
export const nwfilterBinding = struct({ portDev: str, filterName: str })
export const networkDhcpLease = struct({
  iface: str,
  expiryTime: i64,
  type: i32,
  mac: optional(str),
  iaid: optional(str),
  ipAddr: str,
  prefix: u32,
  hostname: optional(str),
  clientId: optional(str)
})

/** What a reply with status 1 carries. `dom` and `net` are never used. */
export const virError = struct({
  code: i32,
  domain: i32,
  message: optional(str),
  level: i32,
  dom: optional(domain),
  str1: optional(str),
  str2: optional(str),
  str3: optional(str),
  int1: i32,
  int2: i32,
  net: optional(network)
})

const members: Record<TypedValue['type'], readonly [number, Codec<unknown>]> = {
  int: [1, i32],
  uint: [2, u32],
  llong: [3, i64],
  ullong: [4, u64],
  double: [5, double],
  boolean: [6, boolean],
  string: [7, str]
}
