import type { FileRegistry } from '@bufbuild/protobuf'
import { Fault } from '../../common/fault.js'
import { commentsOf } from '../../proto/comments.js'
import {
  describeEnum,
  describeMessage,
  describeMethod,
  describeService,
  type Commented
} from '../../proto/describe.js'

/** A symbol as text; for a method also the messages it takes and gives. */
export function describe(registry: FileRegistry, name: string): string {
  const comment = commentator(registry)
  const type = registry.get(name)
  switch (type?.kind) {
    case 'service':
      return describeService(type, comment)
    case 'message':
      return describeMessage(type, comment)
    case 'enum':
      return describeEnum(type, comment)
    default: {
      const at = name.lastIndexOf('.')
      const method = registry
        .getService(name.slice(0, at))
        ?.methods.find(each => each.name === name.slice(at + 1))
      if (!method) throw new Fault('NOT_FOUND', `there is no ${name}`)
      const said = comment(name)
      const parts = [`${said === undefined ? '' : `// ${said}\n`}${describeMethod(method)};`]
      for (const message of new Set([method.input, method.output]))
        parts.push(describeMessage(message, comment))
      return parts.join('\n\n')
    }
  }
}

function commentator(registry: FileRegistry): Commented {
  const all = new Map<string, string>()
  for (const file of registry.files) for (const [name, text] of commentsOf(file)) all.set(name, text)
  return name => all.get(name)
}
