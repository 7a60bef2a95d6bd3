import { found, type Finding } from './finding.js'
import { sql, type Reader } from './store/query.js'
import { quotaLimits, quotaMode, useOf } from './store/quotas.js'

// I13: where quotas are enforced, none is exceeded beyond its grace.

export function quotaFindings(reader: Reader): Finding[] {
  if (quotaMode(reader) !== 'enforced') return []
  return reader.all(sql.selectFrom('quota').selectAll().orderBy('name')).flatMap(quota =>
    quotaLimits(reader, quota.id).flatMap(limit => {
      const use = useOf(reader, limit)
      const where = limit.objectId === '' ? '' : ` on ${limit.kind} ${limit.objectId}`
      return (['vcpus', 'memoryBytes', 'storageBytes'] as const).flatMap(resource => {
        const most = limit[resource]
        if (most === null || use[resource] <= Math.floor((most * (100 + quota.gracePercent)) / 100)) return []
        const text = `${use[resource]} of ${most} ${words[resource]} are used${where}`
        return [found('I13', `quota ${quota.name}`, text)]
      })
    })
  )
}

const words = { vcpus: 'virtual CPUs', memoryBytes: 'bytes of memory', storageBytes: 'bytes of disks' }
