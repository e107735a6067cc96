import type { Attachment } from '../values/attachment.js'
import { attachmentHash } from '../values/names.js'
import { stateRoot } from './state.js'

/** Where the record of a kind is, or would be, that an attachment has (records.ts). */
export function recordFile(kind: string, attachment: Attachment, folder = attachment.network): string {
  return `${stateRoot}/${kind}/${folder}/${attachmentHash(attachment)}`
}
