import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Metafile } from 'esbuild'

/**
 * Keeps in `folder`, as LICENSE.NAME for those who get the bundle, what each npm package in it says of its licence.
 * @throws when one says nothing
 */
export function keepLicences(metafile: Metafile, folder: string): void {
  mkdirSync(folder, { recursive: true })
  for (const one of packagesIn(metafile)) keepLicence(one, folder)
}

// --- internal

/**
 * The folders of the npm packages that bytes of the output come from; esbuild's own helpers are in each, and not among
 * its inputs.
 */
function packagesIn({ outputs }: Metafile): string[] {
  const inputs = Object.values(outputs).flatMap((output) => Object.entries(output.inputs))
  const contributing = inputs.filter(([, { bytesInOutput }]) => bytesInOutput > 0).map(([file]) => file)
  const folders = contributing.flatMap((file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? [])
  return [...new Set(['node_modules/esbuild', ...folders])]
}

function keepLicence(folder: string, to: string): void {
  const name = folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length)
  const files = readdirSync(folder).filter((file) => /^(licen[cs]e|copying|copyright|notice)/i.test(file))
  if (files.length === 0) throw new Error(`${folder} is in the bundle and has no licence file`)
  const texts = files.sort().map((file) => readFileSync(path.join(folder, file), 'utf8'))
  writeFileSync(path.join(to, `LICENSE.${name.replace('/', '-')}`), texts.join('\n'))
}
