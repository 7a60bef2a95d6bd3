export type VmStats = {
  at: number
  cpuPercent: number
  residentBytes: number
  guestUsedBytes: number
  disks: Array<{
    diskId: string
    readBytes: number
    writtenBytes: number
    readRequests: number
    writeRequests: number
    allocationBytes: number
  }>
  nics: Array<{ mac: string; receivedBytes: number; sentBytes: number }>
}
