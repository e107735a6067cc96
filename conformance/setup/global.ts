import { accessSync, constants, readFileSync } from 'node:fs'
import path from 'node:path'

const root = path.resolve(import.meta.dirname, '../..')

/** Refuses to start the conformance tests where they could only fail: without root, the tools or the binaries. */
export default function setup(): void {
  if (process.getuid?.() !== 0) throw new Error('the conformance tests make network namespaces: run them as root')
  const missing = [...toolPaths(), path.join(root, 'dist/bin/bridge')].filter((file) => !isExecutable(file))
  if (missing.length > 0) throw new Error(`run "make test-setup build" first, missing: ${missing.join(' ')}`)
}

/** What conformance/setup/go-tools makes of go-tools.txt. */
function toolPaths(): string[] {
  const lines = readFileSync(path.join(root, 'conformance/setup/go-tools.txt'), 'utf8').split('\n')
  return lines.flatMap((line) => {
    const [, folder, program] = /^([^#\s]+) \S+\/([^/@]+)@/.exec(line) ?? []
    return folder && program ? [path.join(root, 'dist/tools', folder, program)] : []
  })
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
