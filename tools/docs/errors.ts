import { explain, reasons } from '../../common/fault.js'
import { exitCodes, exitCodeTexts } from '../../cli/exit-codes.js'
import { page, table } from './markdown.js'

/** Every reason a call can fail with, and what to do next. */
export function errorsPage(): string {
  const rows = reasons.map(reason => {
    const { status, nextStep } = explain(reason)
    return [`\`${reason}\``, `\`${status}\``, nextStep]
  })
  const codes = Object.entries(exitCodes).map(([name, code]) => [
    String(code),
    exitCodeTexts[name as keyof typeof exitCodes]
  ])
  return page(
    'Errors',
    'common/fault.ts',
    `A failed call ends with a gRPC status and a message that names the object. The trailer
\`grpc-status-details-bin\` holds a \`google.rpc.Status\` with these details:

- \`ErrorInfo\`: \`reason\` is one of the table below, \`domain\` is "drover", \`metadata\` has ids and numbers.
- \`BadRequest\`: every field that is wrong, by its path (\`disks[1].capacity\`), and what must hold.
- \`Help\`: the next step in words.

Programs compare the reason, never the message. A job that fails has the same facts in \`failure\`.
Where the status is INTERNAL, the metadata \`errorId\` names the line in the daemon's log that has the rest.`,
    `${table(['reason', 'gRPC status', 'what to do next'], rows)}

## Exit codes of drover

${table(['code', 'meaning'], codes)}`
  )
}
