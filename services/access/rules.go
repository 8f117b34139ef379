package access

import (
	antv1 "anthill/gen/ant/v1"
	antonv1 "anthill/gen/anton/v1"
)

// need is what a method asks of its caller. The zero one lets the fewest pass.
type need uint8

const (
	admin    need = iota // the key, a browser's session, or anybody where no key is configured
	keyless              // nobody in particular
	known                // anybody who is recognised
	read                 // as admin, or a guest of the room with this scope
	write                //
	terminal             //
	relay                // this process's own door to WebSockets, which shows its secret
)

// rule is what a method needs of its callers.
type rule struct {
	need need
	room string   // field of the request that names the room, or rooms, of a guest; within a message: open.session_id
	zero []string // fields that a guest must not set: they reach beyond the room
}

// rules are by full method name. What is not here is for admins: a method of the
// ANT API, where guests call, must be here nevertheless, so that it is a decision.
var rules = map[string]rule{
	antonv1.HealthService_GetHealth_FullMethodName:          {need: keyless},
	antonv1.AccessService_OpenBrowserSession_FullMethodName: {need: keyless}, // by the code of a launch link
	antonv1.AccessService_GetCaller_FullMethodName:          {need: known},
	antonv1.AccessService_WatchCaller_FullMethodName:        {need: known},
	antonv1.AccessService_SignOut_FullMethodName:            {need: known},

	antonv1.HealthService_GetBanner_FullMethodName:            {need: admin},
	antonv1.HealthService_GetBrowseStatus_FullMethodName:      {need: admin},
	antonv1.AccessService_CreateLaunchCode_FullMethodName:     {need: admin},
	antonv1.AccessService_ListBrowserSessions_FullMethodName:  {need: admin},
	antonv1.AccessService_RevokeBrowserSession_FullMethodName: {need: admin},

	antv1.InvitesService_CreateInvite_FullMethodName:   {need: admin},
	antv1.InvitesService_ListInvites_FullMethodName:    {need: admin},
	antv1.InvitesService_RevokeInvite_FullMethodName:   {need: admin},
	antv1.InvitesService_ExchangeInvite_FullMethodName: {need: keyless}, // by the invite
	antv1.InvitesService_ListTokens_FullMethodName:     {need: admin},
	antv1.InvitesService_RevokeToken_FullMethodName:    {need: admin},

	antv1.HealthService_GetHealth_FullMethodName: {need: admin}, // it names sessions

	antv1.SessionsService_ListSessions_FullMethodName:   {need: admin},
	antv1.SessionsService_CreateSession_FullMethodName:  {need: admin},
	antv1.SessionsService_GetSession_FullMethodName:     {need: read, room: "id"},
	antv1.SessionsService_UpdateSession_FullMethodName:  {need: admin},
	antv1.SessionsService_DeleteSession_FullMethodName:  {need: admin},
	antv1.SessionsService_RestoreSession_FullMethodName: {need: admin},
	antv1.SessionsService_SetHandle_FullMethodName:      {need: admin},
	antv1.SessionsService_SetCliFlag_FullMethodName:     {need: admin},
	antv1.SessionsService_OrderSessions_FullMethodName:  {need: admin},

	antv1.MessagesService_ListMessages_FullMethodName:       {need: read, room: "session_id"},
	antv1.MessagesService_PostMessage_FullMethodName:        {need: write, room: "session_id"},
	antv1.MessagesService_UpdateMessage_FullMethodName:      {need: admin},
	antv1.MessagesService_DeleteMessage_FullMethodName:      {need: admin},
	antv1.MessagesService_PinMessage_FullMethodName:         {need: write, room: "session_id"},
	antv1.MessagesService_ListDeliveries_FullMethodName:     {need: read, room: "session_id"},
	antv1.MessagesService_GetRoomSettings_FullMethodName:    {need: read, room: "session_id"},
	antv1.MessagesService_UpdateRoomSettings_FullMethodName: {need: admin},

	antv1.ParticipantsService_ListParticipants_FullMethodName:  {need: read, room: "room_id"},
	antv1.ParticipantsService_AddParticipant_FullMethodName:    {need: admin},
	antv1.ParticipantsService_UpdateParticipant_FullMethodName: {need: admin},
	antv1.ParticipantsService_RemoveParticipant_FullMethodName: {need: admin},
	antv1.ParticipantsService_GetPresence_FullMethodName:       {need: read, room: "session_id"},
	antv1.ParticipantsService_SetPresence_FullMethodName:       {need: read, room: "session_id"}, // who reads is there
	antv1.ParticipantsService_SetTyping_FullMethodName:         {need: write, room: "session_id"},

	antv1.ExportsService_ListExportTargets_FullMethodName: {need: read, room: "session_id"},
	antv1.ExportsService_ExportSession_FullMethodName:     {need: admin}, // it writes on this machine
	antv1.ExportsService_DownloadExport_FullMethodName:    {need: read, room: "session_id"},

	antv1.FilesService_ListFileRefs_FullMethodName:           {need: read, room: "session_id"},
	antv1.FilesService_CreateFileRef_FullMethodName:          {need: write, room: "session_id"},
	antv1.FilesService_DeleteFileRef_FullMethodName:          {need: admin}, // it may be another's
	antv1.FilesService_UploadAttachment_FullMethodName:       {need: write, room: "session_id"},
	antv1.FilesService_ListRoomAttachments_FullMethodName:    {need: read, room: "session_id"},
	antv1.FilesService_GetRoomAttachment_FullMethodName:      {need: read, room: "session_id"},
	antv1.FilesService_DeleteRoomAttachment_FullMethodName:   {need: admin},
	antv1.FilesService_DownloadRoomAttachment_FullMethodName: {need: read, room: "session_id"},

	antv1.ReadsService_ListReads_FullMethodName:       {need: read, room: "session_id"},
	antv1.ReadsService_GetMessageReads_FullMethodName: {need: read, room: "session_id"},
	antv1.ReadsService_MarkRead_FullMethodName:        {need: write, room: "session_id"},

	antv1.LinksService_ListLinks_FullMethodName:  {need: admin}, // they name other rooms
	antv1.LinksService_CreateLink_FullMethodName: {need: admin},
	antv1.LinksService_DeleteLink_FullMethodName: {need: admin},

	antv1.DigestService_GetDigest_FullMethodName: {need: read, room: "session_id"},
	antv1.ShareService_GetShare_FullMethodName:   {need: read, room: "session_id"},

	antv1.AsksService_ListAsks_FullMethodName:    {need: read, room: "session_id"},
	antv1.AsksService_CreateAsk_FullMethodName:   {need: write, room: "session_id"},
	antv1.AsksService_ListAllAsks_FullMethodName: {need: admin},
	antv1.AsksService_GetAsk_FullMethodName:      {need: read, room: "session_id"}, // guests name their room
	antv1.AsksService_UpdateAsk_FullMethodName:   {need: write, room: "session_id"},

	antv1.TasksService_ListTasks_FullMethodName:   {need: read, room: "session_id"},
	antv1.TasksService_CreateTask_FullMethodName:  {need: write, room: "session_id"},
	antv1.TasksService_GetTask_FullMethodName:     {need: read, room: "session_id"},
	antv1.TasksService_UpdateTask_FullMethodName:  {need: write, room: "session_id"}, // the room looks at what
	antv1.TasksService_DeleteTask_FullMethodName:  {need: admin},
	antv1.TasksService_ClaimTask_FullMethodName:   {need: write, room: "session_id"},
	antv1.TasksService_ReleaseTask_FullMethodName: {need: write, room: "session_id"},

	antv1.IdentityService_RegisterIdentity_FullMethodName: {need: admin}, // on this machine
	antv1.IdentityService_ResolveIdentity_FullMethodName:  {need: admin},

	antv1.RunEventsService_ListRunEvents_FullMethodName: {need: read, room: "session_id"},
	antv1.HooksService_PostHook_FullMethodName:          {need: admin}, // what it says is highly trusted

	antv1.SearchService_SearchMessages_FullMethodName: {need: admin},
	antv1.SearchService_SearchRoom_FullMethodName:     {need: read, room: "session_id"},

	antv1.TerminalsService_GetTerminal_FullMethodName:         {need: read, room: "session_id"},
	antv1.TerminalsService_StartTerminal_FullMethodName:       {need: admin}, // it says what to run
	antv1.TerminalsService_EndTerminal_FullMethodName:         {need: admin},
	antv1.TerminalsService_SendTerminalInput_FullMethodName:   {need: terminal, room: "session_id"},
	antv1.TerminalsService_InterruptTerminal_FullMethodName:   {need: admin},
	antv1.TerminalsService_GetTerminalScreen_FullMethodName:   {need: read, room: "session_id"},
	antv1.TerminalsService_ListTerminalHistory_FullMethodName: {need: read, room: "session_id"},
	antv1.TerminalsService_ListTerminalEvents_FullMethodName:  {need: read, room: "session_id"},
	antv1.TerminalsService_AttachTerminal_FullMethodName:      {need: terminal, room: "open.session_id"},

	antv1.StatusService_GetStatus_FullMethodName: {need: read, room: "session_id"},

	antv1.PromptsService_GetPromptBridgeConfig_FullMethodName:    {need: admin}, // it names rooms and addresses
	antv1.PromptsService_UpdatePromptBridgeConfig_FullMethodName: {need: admin},
	antv1.PromptsService_GetPendingPrompt_FullMethodName:         {need: read, room: "session_id"},
	antv1.PromptsService_RespondPrompt_FullMethodName:            {need: terminal, room: "session_id"},

	antv1.AttentionService_ListAttention_FullMethodName:   {need: admin}, // of all rooms
	antv1.AttentionService_GetAttention_FullMethodName:    {need: admin},
	antv1.AttentionService_AnswerAttention_FullMethodName: {need: admin}, // guests respond to the prompt of their room

	antv1.SendsService_SendToTerminal_FullMethodName:    {need: terminal, room: "session_id"},
	antv1.SendsService_ListTerminalSends_FullMethodName: {need: read, room: "session_id"},
	antv1.SendsService_GetTerminalSend_FullMethodName:   {need: read, room: "session_id"},

	antv1.EventsService_Subscribe_FullMethodName:  {need: read, room: "session_ids", zero: []string{"all", "sessions"}},
	antv1.EventsService_ListEvents_FullMethodName: {need: read, room: "session_ids", zero: []string{"all", "sessions"}},
	antv1.EventsService_GetGrant_FullMethodName:   {need: known},
	antv1.EventsService_Relay_FullMethodName:      {need: relay},
}
